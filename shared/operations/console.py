"""What commands have in common: reaching a service's database, and printing for people or JSON."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
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
    """A service's database, ready for use; an embedded one is made when it is missing.

    Args:
        make: false for who only looks, and where none is would see an empty one.

    Raises:
        OperationFailed: it cannot be reached, may not be seen from here, is missing and not to be
            made, or `shop setup` has not been run.
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
        raise  # it says all that is known
    except DATABASE_ERRORS as error:
        cause = getattr(error, "orig", None) or error
        # What PostgreSQL's driver says may hold a user's name; what SQLite says is what helps.
        trouble = (
            f"cannot be used: {cause}"
            if database.is_sqlite
            else f"cannot be used ({type(cause).__name__}): "
            "is it running, and is SHOP_DATABASE_URL right?"
        )
        raise OperationFailed(f"{service.name}'s database {database.place} {trouble}") from error
    finally:
        database.close()


class Registry(Protocol):
    """The services of a program, as its commands get at them: `shared` imports none itself."""

    def all_services(self) -> "list[AnyService]":
        """All of them."""

    def service(self, name: str) -> "AnyService":
        """The service of that name.

        Raises:
            InvalidInput: there is none.
        """


def services_of(context: typer.Context) -> "list[AnyService]":
    """All services of the program that a command belongs to."""
    registry: Registry = context.obj
    return registry.all_services()


def service_named(context: typer.Context, name: str) -> "AnyService":
    """The service of that name in the program that a command belongs to.

    Raises:
        InvalidInput: there is none.
    """
    registry: Registry = context.obj
    return registry.service(name)


def visible(services: "Sequence[AnyService]") -> "list[AnyService]":
    """Those whose secrets this process may read; the others are named on standard error."""
    from shared.errors import OperationFailed
    from shared.runtime.settings import settings_for

    seen, hidden = [], []
    for each in services:
        try:
            settings_for(each.name)
        except OperationFailed:
            hidden.append(each.name)
        else:
            seen.append(each)
    if hidden:
        typer.echo(f"shop: not visible from here: {', '.join(hidden)}", err=True)
    return seen


def show(
    found: Sequence[Record] | Record,
    *,
    as_json: bool,
    columns: Mapping[str, str] | None = None,
    title: str | None = None,
    empty: str = "Nothing yet.",
) -> None:
    """Print one record or a listing, for a person or as JSON.

    Args:
        columns: heading by field, for the table; every field by default.
        title: over the table.
        empty: said when a listing has no row.
    """
    if as_json:
        print_json(found)
        return
    rows = [found] if isinstance(found, Mapping) else list(found)
    if not rows:
        typer.echo(empty)
        return
    if isinstance(found, Mapping) and columns is None:
        _print_record(found, title)
        return
    _print_table(rows, columns or {name: name for name in rows[0]}, title)


def confirm(question: str) -> None:
    """Ask a person, who may answer with `--yes` beforehand.

    Raises:
        OperationFailed: the answer is no, or nobody is there to answer.
    """
    from shared.errors import OperationFailed

    try:
        if typer.confirm(question, err=True):
            return
    except typer.Abort:
        typer.echo(err=True)  # ends the line of the question
    raise OperationFailed("nothing was changed; --yes answers the question beforehand")


def local(moment: datetime) -> datetime:
    """As this machine's clock shows it; in UTC, where the calendar ends before that."""
    try:
        return moment.astimezone()
    except OverflowError:
        return moment


def print_json(value: object, *, indent: int | None = None) -> None:
    """Print as JSON: times as ISO 8601, money as decimal strings."""
    typer.echo(
        escape_control_characters(
            json.dumps(value, default=_plain, ensure_ascii=False, indent=indent)
        )
    )


def escape_control_characters(text: str) -> str:
    """A text, or JSON, of a stranger, as a terminal may show it.

    What could move its cursor, turn the direction of writing or break its encoding is escaped as
    JSON does it; line breaks are kept.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text
    )


def _plain(value: object) -> object:
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
        return ", ".join(f"{number} × {name}" for name, number in value.items())
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

    # Piped into a file or a pager, a table is as wide as it needs to be.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 200
    return Console(width=width, highlight=False)
