"""Commands for a person to run, as they can be typed where this process runs.

Each can be pasted into a shell. In a container of the composition nobody can type `shop …`: a
person stands before the engine, and set-up and the services have containers of their own. Layers
that do not know the place write `shop …` into their messages, which are fitted where they are
printed.
"""

import re
import shlex
from collections.abc import Sequence
from itertools import takewhile

from shared.errors import InvalidInput

_NAMED = re.compile(
    r"""\bshop\ (?P<words>
        setup(\ --[a-z-]+)*
        | run\ [a-z][a-z0-9_]*(\ --[a-z-]+)*
        | (doctor | failures | dead | outbox | events)\b
    )""",
    re.VERBOSE,
)


def command(*words: str, **options: str) -> str:
    """A command of `shop` with its arguments, quoted for a shell, as it can be typed here.

    `--` stands before an argument that begins with a hyphen, which is otherwise read as an option.

    Args:
        words: the command and its arguments, without `shop`.
        options: values by the option's name, such as `amount="9.99"`; empty for `--yes`.
    """
    named = [part for name, value in options.items() for part in _option(name, value)]
    before = list(takewhile(lambda word: not word.startswith("-"), words))
    after = words[len(before) :]
    line = (*before, *named, *(("--", *after) if after else ()))
    return shlex.join(_composed(line) if is_composed() else ("shop", *line))


def another_process(service: str) -> str:
    """The command that starts a further process of a service."""
    if is_composed():
        return f"docker compose up --detach --no-recreate --scale {service}=2 {service}"
    return command("run", service)


def fitting(sentence: str) -> str:
    """A sentence with its commands as they can be typed here."""
    return composed(sentence) if "shop " in sentence and is_composed() else sentence


def composed(sentence: str) -> str:
    """A sentence with its commands as they can be typed before the composition."""
    return _NAMED.sub(lambda found: shlex.join(_composed(found["words"].split())), sentence)


def is_composed() -> bool:
    """Whether this process runs in a container of the composition; False if settings are wrong."""
    # Imported here: `shop --help` needs no settings.
    from shared.runtime.settings import settings_for  # noqa: PLC0415 - see above

    try:
        return settings_for().composed
    except InvalidInput:
        return False


def _option(name: str, value: str) -> list[str]:
    option = f"--{name.replace('_', '-')}"
    if value.startswith("-"):
        return [f"{option}={value}"]
    return [option, value] if value else [option]


def _composed(line: Sequence[str]) -> list[str]:
    """The command in the container that can run it; those of services and set-up are theirs."""
    run = ["docker", "compose", "run", "--rm"]
    match line:
        case ["setup"]:
            return [*run, "setup"]
        case ["setup", *_]:
            return [*run, "setup", *line]
        case ["run", service] if not service.startswith("-"):
            return ["docker", "compose", "up", "--detach", service]
        case ["run", service, *_] if not service.startswith("-"):
            return [*run, service, *line]
    return [*run, "operator", *line]
