"""Creates a new consumer: its folder, its test, and its stanza and network in docker-compose.yml.

Guarantee: either everything is created or nothing. All files are written to a temporary folder
first and then moved.
"""

import builtins
import keyword
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from shared.errors import InvalidInput, OperationFailed
from shared.events.domain_event import DomainEvent, Kind
from shared.events.schemas import published_contracts
from shared.exhaustion import reason_of

MARKERS = {
    "  # -- new services above this line --\n": "compose.yml.j2",
    "  # -- networks of new services above this line --\n": "service_network.yml.j2",
    "  # -- new networks above this line --\n": "network.yml.j2",
}
"""The lines of the compose file above which something is added, each with its template."""

COMPOSE = "docker-compose.yml"
PAGE = Path("docs", "events.md")
TESTS = Path("tests", "unit", "services")

_MAX_NAME_LENGTH = 24
"""With a longer name, generated lines would exceed the line length."""

_RESERVED = frozenset(
    {
        # names of exchanges, of the stream, and of users and databases that the servers have
        *("replays", "history", "dead", "admin", "guest", "operator", "public"),
        *("template0", "template1", "postgres", "none"),
        # the embedded broker's file is in the same folder as the services' databases
        "broker",
        # words with a meaning in YAML
        *("on", "off", "yes", "no", "y", "n", "true", "false", "null"),
    }
)

_FILES = {
    "__init__.py": "init.py.j2",
    "service.py": "service.py.j2",
    "handlers.py": "handlers.py.j2",
    "store.py": "store.py.j2",
    "tables.py": "tables.py.j2",
    "commands.py": "commands.py.j2",
    "migrations/0001_received_events.py": "migration.py.j2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewConsumer:
    """The consumer to create.

    Attributes:
        contracts: the events that it subscribes to; `DomainEvent` for all.
        user_id: the user that its container runs as.
    """

    name: str
    contracts: Sequence[Kind]
    user_id: int


def require_free_name(
    name: str, root: Path, *, commands: Iterable[str], same_user: Sequence[str]
) -> None:
    """Check that a new service may have this name.

    Args:
        root: the project's checkout.
        commands: the names of `shop`'s commands.
        same_user: services whose user id is the one that this name results in; usually none.

    Raises:
        InvalidInput: it may not; the message says why.
    """
    if not re.fullmatch(rf"[a-z][a-z0-9_]{{0,{_MAX_NAME_LENGTH - 1}}}", name) or keyword.iskeyword(
        name
    ):
        raise InvalidInput(
            f"{name!r} cannot be a service's name: it should be a lowercase letter, then up to "
            f"{_MAX_NAME_LENGTH - 1} lowercase letters, digits and _, and no keyword of Python"
        )
    folder = root / "services" / name
    if folder.is_dir() and not any(folder.glob("*.py")):
        raise InvalidInput(f"there is a folder {folder.relative_to(root)} already: remove it first")
    if folder.is_dir() or (root / TESTS / name).exists():
        raise InvalidInput(f"there is a service {name} already")
    if name in sys.stdlib_module_names or hasattr(builtins, name):
        raise InvalidInput(f"{name} would shadow Python's own {name}: choose another name")
    if name in _RESERVED | _names_in_use(root) | set(commands) or name.startswith("pg_"):
        raise InvalidInput(f"{name} has a meaning here already: choose another name")
    if find_spec(name) is not None:
        raise InvalidInput(f"{name} would shadow the installed {name}: choose another name")
    if same_user:
        raise InvalidInput(
            f"{name} would run as the same user as {same_user[0]}: choose another name"
        )


def contracts_of(topics: Sequence[str]) -> list[Kind]:
    """Return the newest contract of each topic; `DomainEvent` if there are no topics.

    Raises:
        InvalidInput: there is no event with that topic.
    """
    by_version = sorted(published_contracts(), key=lambda contract: contract.version)
    newest = {contract.topic: contract for contract in by_version}
    for topic in topics:
        if topic not in newest:
            raise InvalidInput(
                f"there is no event {topic!r}; there are {', '.join(sorted(newest))}"
            )
    return [newest[topic] for topic in dict.fromkeys(topics)] or [DomainEvent]


def create(consumer: NewConsumer, root: Path) -> list[Path]:
    """Create the consumer in the project's checkout.

    Returns:
        The paths that were created or changed, relative to the checkout.

    Raises:
        InvalidInput: its name is that of its own handler.
        OperationFailed: `root` is not a checkout or cannot be written; nothing was changed.
    """
    if any(consumer.name == _event(contract)["handler"] for contract in consumer.contracts):
        raise InvalidInput(f"{consumer.name} would be its own handler's name: choose another name")
    compose = _read_compose(root)
    service, test = Path("services", consumer.name), TESTS / consumer.name
    try:
        with TemporaryDirectory(prefix=".new-", dir=root) as name, ExitStack() as undo:
            temporary = Path(name)
            _write(consumer, temporary, compose=_with_stanza(consumer, compose))
            (temporary / "test").rename(root / test)
            undo.callback(shutil.rmtree, root / test)
            shutil.copymode(root / COMPOSE, temporary / COMPOSE)
            (temporary / COMPOSE).replace(root / COMPOSE)
            undo.callback((root / COMPOSE).write_text, compose, encoding="utf-8")
            (temporary / "service").rename(root / service)
            undo.pop_all()
    except OSError as error:
        raise OperationFailed(
            f"the checkout {root} cannot be written: {reason_of(error)}"
        ) from error
    return [service, test / f"test_{consumer.name}.py", Path(COMPOSE)]


def _read_compose(root: Path) -> str:
    try:
        text = (root / COMPOSE).read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    missing = [marker for marker in MARKERS if marker not in text]
    if missing or not (root / TESTS).is_dir() or not (root / PAGE).is_file():
        lines = ", ".join(repr(marker.strip()) for marker in MARKERS)
        raise OperationFailed(
            "shop new needs the project's checkout, and this is not one: it has to contain "
            f"services/, {TESTS}/, {PAGE}, and {COMPOSE} with the lines {lines}"
        )
    return text


def _names_in_use(root: Path) -> set[str]:
    """The names of modules, packages, containers and networks."""
    folders = (root, root / "services", root / "shared")
    modules = {path.stem for folder in folders for path in folder.iterdir()}
    return modules | set(
        re.findall(r"^  ([a-z_0-9]+):(?: [*{].*)?$", _read_compose(root), re.MULTILINE)
    )


def _write(consumer: NewConsumer, folder: Path, *, compose: str) -> None:
    for file, template in _FILES.items():
        path = folder / "service" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_render(template, consumer), encoding="utf-8")
    test = folder / "test" / f"test_{consumer.name}.py"
    test.parent.mkdir()
    test.write_text(_render("test.py.j2", consumer), encoding="utf-8")
    (folder / COMPOSE).write_text(compose, encoding="utf-8")


def _with_stanza(consumer: NewConsumer, compose: str) -> str:
    """Add what belongs above each marker, and the settings below those of the other services."""
    for marker, template in MARKERS.items():
        compose = compose.replace(marker, _render(template, consumer) + marker)
    *_, last = re.finditer(r"^  SHOP_[A-Z0-9_]+_DEADLINE:\n", compose, re.MULTILINE)
    settings = _render("settings.yml.j2", consumer)
    return compose[: last.end()] + settings + compose[last.end() :]


def _render(template: str, consumer: NewConsumer) -> str:
    environment = Environment(  # noqa: S701 - it renders Python and YAML from checked names
        loader=PackageLoader("shared.operations.scaffold"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(
        name=consumer.name,
        title=consumer.name.replace("_", " ").capitalize(),
        camel="".join(part.capitalize() for part in consumer.name.split("_")),
        user=consumer.user_id,
        events=[_event(contract) for contract in consumer.contracts],
        imports=_imports(consumer.contracts),
    )


def _event(contract: Kind) -> dict[str, Any]:
    topic = contract.topic
    return {
        "contract": contract.__name__,
        "handler": f"record_{topic.replace('.', '_') or 'event'}",
        "description": f"one {topic} event" if topic else "one event of any type",
    }


def _imports(contracts: Sequence[Kind]) -> str:
    names = sorted(contract.__name__ for contract in contracts)
    if len(names) == 1:
        return f"from shared.events import {names[0]}"
    return "\n".join(["from shared.events import (", *(f"    {name}," for name in names), ")"])
