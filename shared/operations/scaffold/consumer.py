"""A new consumer: its folder, its test and its stanza in docker-compose.yml, ready to run.

Guarantee: either all of it is there, or nothing: it is written aside and then put in its place.
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

MARKER = "  # -- new services above this line --\n"
COMPOSE = "docker-compose.yml"
PAGE = Path("docs", "events.md")
TESTS = Path("tests", "unit", "services")

_LONGEST_NAME = 24
"""Above it, lines would need breaking otherwise than the templates do."""

_RESERVED = frozenset(
    {
        # exchanges, the stream, and administrators and databases of the servers' own
        *("replays", "history", "dead", "admin", "guest", "operator", "public"),
        *("template0", "template1", "postgres", "none"),
        # the embedded broker's file, which stands beside the services' own
        "broker",
        # words of YAML
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
    "migrations/0001_noted.py": "migration.py.j2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewConsumer:
    """What is to be made.

    Attributes:
        subscribed: contracts, or `DomainEvent` for all.
        user: the one that it runs as where each service has its own.
    """

    name: str
    subscribed: Sequence[Kind]
    user: int


def require_free_name(
    name: str, root: Path, *, commands: Iterable[str], users: Sequence[str]
) -> None:
    """Refuse a name that cannot be a service's here.

    Args:
        root: the project's checkout.
        commands: names that `shop` has already.
        users: the services that run as the user that the name gives, none as a rule.

    Raises:
        InvalidInput: the sentence says why.
    """
    if not re.fullmatch(rf"[a-z][a-z0-9_]{{0,{_LONGEST_NAME - 1}}}", name) or keyword.iskeyword(
        name
    ):
        raise InvalidInput(
            f"{name!r} cannot be a service's name: a letter, then up to {_LONGEST_NAME - 1} small "
            "letters, digits and _, and no word of Python"
        )
    folder = root / "services" / name
    if folder.is_dir() and not any(folder.glob("*.py")):
        raise InvalidInput(f"there is a folder {folder.relative_to(root)} already: remove it first")
    if folder.is_dir() or (root / TESTS / name).exists():
        raise InvalidInput(f"there is a service {name} already")
    if name in sys.stdlib_module_names or hasattr(builtins, name):
        raise InvalidInput(f"{name} would shadow Python's own {name}: choose another name")
    if name in _RESERVED | _ours(root) | set(commands) or name.startswith("pg_"):
        raise InvalidInput(f"{name} has a meaning here already: choose another name")
    if find_spec(name) is not None:
        raise InvalidInput(f"{name} would shadow the installed {name}: choose another name")
    if users:
        raise InvalidInput(f"{name} would run as the same user as {users[0]}: choose another name")


def contracts_of(topics: Sequence[str]) -> list[Kind]:
    """The newest contract of each topic; all events where none is named.

    Raises:
        InvalidInput: there is no such topic.
    """
    newest = {each.topic: each for each in sorted(published_contracts(), key=lambda c: c.version)}
    for topic in topics:
        if topic not in newest:
            raise InvalidInput(
                f"there is no event {topic!r}; there are {', '.join(sorted(newest))}"
            )
    return [newest[topic] for topic in dict.fromkeys(topics)] or [DomainEvent]


def make(consumer: NewConsumer, root: Path) -> list[Path]:
    """Make the consumer in the project's checkout.

    Returns:
        What was made or changed, relative to the checkout.

    Raises:
        InvalidInput: its handler would have the same name.
        OperationFailed: this is no checkout, or it cannot be written; nothing has changed.
    """
    if any(consumer.name == _event(each)["handler"] for each in consumer.subscribed):
        raise InvalidInput(f"{consumer.name} would be its own handler's name: choose another name")
    compose = _compose(root)
    service, test = Path("services", consumer.name), TESTS / consumer.name
    try:
        with TemporaryDirectory(prefix=".new-", dir=root) as aside, ExitStack() as undo:
            _write(consumer, Path(aside), compose=_with_stanza(consumer, compose))
            Path(aside, "test").rename(root / test)
            undo.callback(shutil.rmtree, root / test)
            shutil.copymode(root / COMPOSE, Path(aside, COMPOSE))
            Path(aside, COMPOSE).replace(root / COMPOSE)
            undo.callback((root / COMPOSE).write_text, compose, encoding="utf-8")
            Path(aside, "service").rename(root / service)
            undo.pop_all()
    except OSError as error:
        raise OperationFailed(f"the checkout {root} cannot be written: {error.strerror}") from error
    return [service, test / f"test_{consumer.name}.py", Path(COMPOSE)]


def _compose(root: Path) -> str:
    try:
        text = (root / COMPOSE).read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    if MARKER not in text or not (root / TESTS).is_dir() or not (root / PAGE).is_file():
        raise OperationFailed(
            "shop new writes into the project's checkout, and this is none: it needs services/, "
            f"{TESTS}/, {PAGE} and {COMPOSE} with its line {MARKER.strip()!r}"
        )
    return text


def _ours(root: Path) -> set[str]:
    """Names that stand for something: modules, folders, and containers of the composition."""
    folders = (root, root / "services", root / "shared")
    modules = {path.stem for folder in folders for path in folder.iterdir()}
    return modules | set(re.findall(r"^  ([a-z_0-9]+):$", _compose(root), re.MULTILINE))


def _write(consumer: NewConsumer, aside: Path, *, compose: str) -> None:
    for file, template in _FILES.items():
        path = aside / "service" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_rendered(template, consumer), encoding="utf-8")
    (aside / "test").mkdir()
    test = aside / "test" / f"test_{consumer.name}.py"
    test.write_text(_rendered("test.py.j2", consumer), encoding="utf-8")
    (aside / COMPOSE).write_text(compose, encoding="utf-8")


def _with_stanza(consumer: NewConsumer, compose: str) -> str:
    stanza = _rendered("compose.yml.j2", consumer)
    with_stanza = compose.replace(MARKER, stanza + MARKER)
    *_, last = re.finditer(r"^  SHOP_[A-Z0-9_]+_DEADLINE:\n", with_stanza, re.MULTILINE)
    settings = _rendered("settings.yml.j2", consumer)
    return with_stanza[: last.end()] + settings + with_stanza[last.end() :]


def _rendered(template: str, consumer: NewConsumer) -> str:
    environment = Environment(  # noqa: S701 - it makes Python and YAML, of names that were checked
        loader=PackageLoader("shared.operations.scaffold"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(
        name=consumer.name,
        title=consumer.name.replace("_", " ").capitalize(),
        camel="".join(part.capitalize() for part in consumer.name.split("_")),
        user=consumer.user,
        events=[_event(each) for each in consumer.subscribed],
        imports=_imports(consumer.subscribed),
    )


def _event(contract: Kind) -> dict[str, Any]:
    what = contract.topic or "event"
    return {
        "contract": contract.__name__,
        "handler": f"note_{what.replace('.', '_')}",
        "what": f"{what} happened" if contract.topic else "an event happened, whatever it is",
    }


def _imports(contracts: Sequence[Kind]) -> str:
    names = sorted(each.__name__ for each in contracts)
    if len(names) == 1:
        return f"from shared.events import {names[0]}"
    return "\n".join(["from shared.events import (", *(f"    {name}," for name in names), ")"])
