"""Names the line of a service's own code at which an error was raised, for logs and listings."""

import re
import traceback
from collections.abc import Iterable
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_RUNTIME = "shared"
_LIBRARIES = frozenset({"site-packages", "dist-packages"})
_FRAME = re.compile(r'^  File "(.+)", line (\d+), in ', re.MULTILINE)

UNKNOWN = "an unknown place"


def origin_of(error: BaseException) -> str:
    """Where an error was raised, such as `services/gifts/handlers.py:14`; see `origin_in`."""
    frames = traceback.extract_tb(error.__traceback__)
    return _origin((each.filename, each.lineno or 0) for each in frames)


def origin_in(stack: str) -> str:
    """The same for a stack as `traceback.format_tb` writes it.

    The deepest frame of a service's code, since that is what can be mended: a library that it
    called raised the error in a frame of its own. Without one, the deepest frame of this project,
    or of any code.
    """
    return _origin((name, int(line)) for name, line in _FRAME.findall(stack))


def _origin(frames: Iterable[tuple[str, int]]) -> str:
    places = [(_relative(Path(name)), line) for name, line in frames]
    if not places:
        return UNKNOWN
    # Of equal ranks `max` returns the first, so the deepest frame comes first.
    path, line = max(reversed(places), key=lambda place: _rank(place[0]))
    return f"{path}:{line}"


def _relative(path: Path) -> Path:
    """The path below the project's folder, or only the file's name."""
    is_ours = path.is_relative_to(_ROOT) and _LIBRARIES.isdisjoint(path.parts)
    return path.relative_to(_ROOT) if is_ours else Path(path.name)


def _rank(path: Path) -> int:
    if len(path.parts) == 1:
        return 0  # a library's
    return 1 if path.parts[0] == _RUNTIME else 2
