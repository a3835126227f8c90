"""What commands share: access to services and their databases, and output as text or JSON."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

if TYPE_CHECKING:
    from shared.runtime.service import AnyService
    from shared.storage.database import Database

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

Record = Mapping[str, Any]


@contextmanager
def database_of(service: "AnyService", *, make: bool = True) -> Iterator["Database"]:
    """Open a service's database; an embedded one is migrated first.

    Args:
        make: whether to create a missing embedded database; true by default.

    Raises:
        OperationFailed: the database cannot be used, is missing and not to be created, or has
            not been set up for this version; or its credentials cannot be read here.
    """
    from shared.errors import CommitOutcomeUnknown, OperationFailed
    from shared.runtime.settings import settings_for
    from shared.storage.database import DATABASE_ERRORS, Database
    from shared.storage.migrating import is_current, migrate

    database = Database(settings_for(service.name).database_url_of(service.name))
    try:
        if database.is_sqlite and not make and not database.path.exists():
            raise OperationFailed(f"its database {database.place} is not there")
        if database.is_sqlite:
            migrate(database, service.migrations)
        elif not is_current(database, service.migrations):
            raise OperationFailed(
                f"{database.place} is not set up for this version: run shop setup"
            )
        yield database
    except CommitOutcomeUnknown:
        raise  # its own message already says what to do
    except DATABASE_ERRORS as error:
        if failure := database.tls_failure(error):
            raise OperationFailed(
                f"{service.name}'s database {database.place} {failure}"
            ) from error
        cause = getattr(error, "orig", None) or error
        # A message of PostgreSQL's driver may contain a user's name; SQLite's contains none.
        reason = (
            f": {cause}"
            if database.is_sqlite
            else f" ({type(cause).__name__}): is it running, and is SHOP_DATABASE_URL right?"
        )
        raise OperationFailed(
            f"{service.name}'s database {database.place} cannot be used{reason}"
        ) from error
    finally:
        database.close()


class Registry(Protocol):
    """The services of the running program, which `shared` may not import itself."""

    def all_services(self) -> "list[AnyService]":
        """Return every service."""

    def service(self, name: str) -> "AnyService":
        """Return the service with that name.

        Raises:
            InvalidInput: there is no such service.
        """


def services_of(context: typer.Context) -> "list[AnyService]":
    """Return every service of the program that the command belongs to."""
    registry: Registry = context.obj
    return registry.all_services()


def service_named(context: typer.Context, name: str) -> "AnyService":
    """Return the service with that name of the program that the command belongs to.

    Raises:
        InvalidInput: there is no such service.
    """
    registry: Registry = context.obj
    return registry.service(name)


def visible(services: "Sequence[AnyService]") -> "list[AnyService]":
    """Return the services whose credentials this process may read.

    The names of the others are printed on standard error.
    """
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
    """Print a sentence for people on standard error, after `shop: `."""
    typer.echo(f"shop: {sentence}", err=True)


def show(
    records: Sequence[Record] | Record,
    *,
    as_json: bool,
    columns: Mapping[str, str] | None = None,
    title: str | None = None,
    empty: str = "Nothing yet.",
) -> None:
    """Print one record or a list of records, as text or as JSON.

    Args:
        columns: heading by field, for a list; by default every field under its own name.
        title: printed above.
        empty: printed instead of an empty list.
    """
    if as_json:
        print_json(records)
    elif not records:
        typer.echo(empty)
    elif isinstance(records, Mapping):
        _print_record(records, title)
    else:
        _print_table(records, columns or {name: name for name in records[0]}, title)


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
        typer.echo(err=True)  # ends the line of the question
    raise OperationFailed("nothing was changed; --yes answers the question beforehand")


def local(moment: datetime) -> datetime:
    """Convert to this machine's time zone; a time at the very end of the calendar stays in UTC."""
    try:
        return moment.astimezone()
    except OverflowError:
        return moment


def print_json(value: object, *, indent: int | None = None) -> None:
    """Print as JSON, with times in ISO 8601 and decimals as strings."""
    typer.echo(
        escape_control_characters(
            json.dumps(value, default=_json_value, ensure_ascii=False, indent=indent)
        )
    )


def escape_control_characters(text: str) -> str:
    """Make text from outside, or JSON that contains it, safe to print on a terminal.

    Characters that could move the cursor, change the direction of the text or break its encoding
    become JSON escapes; line breaks stay.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text
    )


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error, if that is a terminal.

    Yields:
        A function that sets the progress: how many are done, and of how many.
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
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return local(value).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, Mapping):
        return ", ".join(f"{count} × {name}" for name, count in value.items())
    return "" if value is None else escape_control_characters(str(value))


def _print_table(rows: Sequence[Record], columns: Mapping[str, str], title: str | None) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    for name, heading in columns.items():
        is_number = all(isinstance(row[name], int | float | Decimal) for row in rows)
        table.add_column(heading, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row[name])) for name in columns))
    _console().print(table)


def _print_record(record: Record, title: str | None) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=title, box=None, show_header=False, title_justify="left")
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in record.items():
        if value is not None:
            grid.add_row(name.replace("_", " "), Text(_cell(value)))
    _console().print(grid)


def _console() -> Any:  # noqa: ANN401 - Rich is imported when a table is printed
    from rich.console import Console

    # Output that is piped has no width of its own, and 80 columns would break most tables.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 200
    return Console(width=width, highlight=False)
