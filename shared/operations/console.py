"""Shared code of commands: access to services and their databases, output as text or JSON."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from shared.operations.output import echo, expressible

if TYPE_CHECKING:
    from rich.console import Console

    from shared.operations.tables import Column
    from shared.runtime.service import AnyService
    from shared.storage.database import Database

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

Record = Mapping[str, Any]

UNLIMITED = 100_000
"""The width of output that is piped: nothing is folded or left out."""


def command_group(help_text: str) -> typer.Typer:
    """A group of commands; the callback keeps the name of a command that is alone in its group."""
    group = typer.Typer(help=help_text, no_args_is_help=True)
    group.callback()(lambda: None)
    return group


@contextmanager
def database_of(
    service: "AnyService", *, make: bool = True, looks: bool = False
) -> Iterator["Database"]:
    """Open a service's database; an embedded one is migrated first.

    Args:
        make: False to leave a missing embedded database missing.
        looks: whether the command only reads, and so makes no shop where there is none.

    Raises:
        OperationFailed: the database cannot be used, is missing, or is not set up for this
            version; or its credentials cannot be read here.
    """
    from shared.errors import CommitOutcomeUnknown, OperationFailed
    from shared.operations.home import new_home, require_home
    from shared.runtime.settings import settings_for
    from shared.storage.database import DATABASE_ERRORS, Database, failure_reason
    from shared.storage.migrating import is_current, migrate

    settings = settings_for(service.name)
    if looks:
        require_home(settings, settings.database_url)
    made = new_home(settings, settings.database_url) if make else None
    database = Database(settings.database_url_of(service.name))
    try:
        if database.is_sqlite and not make and not database.path.exists():
            raise OperationFailed(f"its database {database.place} is not there")
        if database.is_sqlite:
            migrate(database, service.migrations)
            if made:
                print_notice(made)
        elif not is_current(database, service.migrations):
            raise OperationFailed(
                f"{database.place} is not set up for this version: run shop setup"
            )
        yield database
    except CommitOutcomeUnknown:
        raise  # its message names the next step
    except DATABASE_ERRORS as error:
        failure = database.failure(error) or failure_reason(error)
        raise OperationFailed(f"{service.name}'s database {database.place} {failure}") from error
    finally:
        database.close()


class Registry(Protocol):
    """Finds the services, which `shared` may not import; `shop` passes it to the commands."""

    def all_services(self) -> "list[AnyService]":
        """Return every service."""

    def service(self, name: str) -> "AnyService":
        """Return the service with that name; raises InvalidInput if there is none."""


def services_of(context: typer.Context) -> "list[AnyService]":
    """Return every service."""
    registry: Registry = context.obj
    return registry.all_services()


def service_named(context: typer.Context, name: str) -> "AnyService":
    """Return the service with that name; raises InvalidInput if there is none."""
    registry: Registry = context.obj
    return registry.service(name)


def visible(services: "Sequence[AnyService]") -> "list[AnyService]":
    """Return the services whose credentials this process may read, and print the others' names."""
    from shared.errors import OperationFailed
    from shared.runtime.settings import settings_for

    readable, hidden = [], []
    for service in services:
        try:
            settings_for(service.name)
        except OperationFailed:
            hidden.append(service.name)
        else:
            readable.append(service)
    if hidden:
        print_notice(f"not visible from here: {', '.join(hidden)}")
    return readable


def print_notice(sentence: str) -> None:
    """Print a sentence on standard error, after `shop: `; its commands fit this place."""
    from shared.runtime.hints import fitting

    echo(f"shop: {fitting(sentence)}", err=True)


def counted(number: int, noun: str) -> str:
    """A number with its noun, such as `1 event` or `1,000 events`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def show(  # noqa: PLR0913 - its options
    records: Sequence[Record] | Record,
    *,
    as_json: bool,
    columns: Mapping[str, str] | None = None,
    expendable: Sequence[str] = (),
    title: str | None = None,
    empty: str = "Nothing yet.",
    styles: Sequence[str | None] | None = None,
) -> None:
    """Print one record or a list of records, as text or as JSON.

    Args:
        columns: the heading of each field, for a list; by default all fields with their names.
        expendable: the columns that a narrow terminal lacks first, in this order; then the last.
        empty: the sentence for an empty list.
        styles: Rich's style of each row of a list, such as "red".
    """
    if as_json:
        print_json(records)
    elif not records:
        echo(empty)
    elif isinstance(records, Mapping):
        _print_record(records, title)
    else:
        columns = columns or {name: name for name in records[0]}
        _print_table(records, columns, expendable=expendable, title=title, styles=styles)


def confirm(question: str) -> None:
    """Ask for confirmation on standard error.

    Raises:
        OperationFailed: the answer is no, or standard input is closed.
    """
    from shared.errors import OperationFailed

    try:
        if typer.confirm(question, err=True):
            return
    except typer.Abort:
        echo(err=True)  # ends the line of the question
    raise OperationFailed("nothing was changed; --yes answers the question beforehand")


def time_text(moment: datetime, *, has_milliseconds: bool = False) -> str:
    """A time as people read it, always in UTC, such as `2026-11-20 14:30:05Z`."""
    moment = moment.astimezone(UTC)
    milliseconds = f".{moment.microsecond // 1000:03d}" if has_milliseconds else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}{milliseconds}Z"


def print_json(value: object, *, indent: int | None = None) -> None:
    """Print as JSON, with times in ISO 8601 and decimals as strings."""
    text = json.dumps(value, default=_json_value, ensure_ascii=False, indent=indent)
    echo(expressible(escape_control_characters(text)))


def escape_control_characters(text: str) -> str:
    """Replace characters that could change a terminal by JSON escapes; line breaks stay.

    Such characters move the cursor, change the direction of the text or break its encoding.
    Joiners stay, which shape letters and emoji.
    """
    if text.isprintable():
        return text
    return _steering().sub(lambda found: json.dumps(found[0])[1:-1], text)


@cache
def _steering() -> "re.Pattern[str]":
    from shared.events.text import REFUSED  # imports pydantic, which `shop --help` needs not

    return re.compile(f"(?!\n)[{REFUSED}\ud800-\udfff]")


def terminal(*, width: int) -> "Console":
    """Rich's console for standard output; `width` is for output that is piped."""
    from rich.console import Console

    has_width = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if has_width else width, highlight=False)


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error, if that is a terminal.

    Yields:
        A function to call with the number done and the total.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (label, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _json_value(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return dict(value) if isinstance(value, Mapping) else str(value)


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{count} × {name}" for name, count in value.items())
    return "" if value is None else escape_control_characters(str(value))


def _print_table(
    rows: Sequence[Record],
    headings: Mapping[str, str],
    *,
    expendable: Sequence[str],
    title: str | None,
    styles: Sequence[str | None] | None,
) -> None:
    from shared.operations.tables import fitted, table_of

    columns = {name: _column(name, heading, rows) for name, heading in headings.items()}
    console = terminal(width=UNLIMITED)
    shown = fitted(columns, expendable=expendable, width=console.width)
    table = table_of(
        [columns[name] for name in shown], title=title, width=console.width, styles=styles
    )
    console.print(table)
    if hidden := [headings[name] or name.capitalize() for name in columns if name not in shown]:
        console.print(
            f"Not shown at {console.width} columns: {', '.join(hidden)}; --json has everything.",
            style="dim",
        )


def _column(name: str, heading: str, rows: Sequence[Record]) -> "Column":
    from rich.text import Text

    from shared.operations.tables import Column
    from shared.runtime.colours import style_of

    values = [row[name] for row in rows]
    styles = [style_of(str(value)) if name == "service" else "" for value in values]
    return Column(
        heading=heading,
        cells=[Text(_cell(value), style) for value, style in zip(values, styles, strict=True)],
        is_number=all(isinstance(value, int | float | Decimal) for value in values),
        is_whole=any(isinstance(value, datetime) for value in values),
    )


def _print_record(record: Record, title: str | None) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=title, box=None, show_header=False, title_justify="left")
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in record.items():
        if value is not None:
            grid.add_row(name.replace("_", " "), Text(_cell(value)))
    terminal(width=200).print(grid)
