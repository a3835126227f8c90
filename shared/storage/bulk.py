"""Many rows in one statement: on PostgreSQL they travel as JSON, on SQLite row by row.

The text of such a statement does not depend on how many rows there are, so it is built, compiled
and prepared once; and one JSON text is made faster than an array for each column. Rows are taken in
their order, which is what keeps processes from deadlock that take the same ones.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from sqlalchemy import (
    ARRAY,
    JSON,
    ColumnElement,
    Connection,
    Executable,
    Result,
    Table,
    TableValuedAlias,
    Text,
    any_,
    bindparam,
    cast,
    column,
    func,
    select,
    update,
)

from shared.storage.columns import UtcTime, require_aware
from shared.storage.compiled import execute

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

    Insert = postgresql.Insert | sqlite.Insert
else:
    from sqlalchemy import Insert
Row = Mapping[str, Any]
How = Callable[[Table, Insert], Executable]
"""What becomes of an INSERT into a table: of its conflicts, and of what it returns."""

KEYS, ROWS = "keys_", "rows_"
"""Parameters: of `among`, and of a statement of many rows."""


def insert_into(table: Table, *, is_sqlite: bool) -> Insert:
    """An INSERT that knows ON CONFLICT."""
    # Only the one in use: a dialect takes a tenth of the time that a command takes to start.
    if is_sqlite:
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - see above

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - see above

    return postgresql.insert(table)


def no_conflict_clause(_table: Table, insert: Insert) -> Executable:
    """An INSERT without more ado."""
    return insert


def skip_existing(_table: Table, insert: Insert) -> Executable:
    """An INSERT that leaves out what is there already."""
    return insert.on_conflict_do_nothing()


def insert_many(
    connection: Connection,
    table: Table,
    rows: Sequence[Row],
    *,
    how: How = no_conflict_clause,
) -> Result[Any]:
    """Insert at least one row, all with the same columns.

    Args:
        how: a function of a module, which is asked once.
    """
    if _go_singly(connection, rows):
        statement = _insert_of_rows(table, how, is_sqlite=is_sqlite(connection))
        if len(rows) > 1:
            return connection.execute(statement, [dict(each) for each in rows])
        return execute(connection, statement, rows[0])
    names = tuple(rows[0])
    return execute(connection, _insert_of_json(table, how, names), _json(table, rows))


def update_many(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Update at least one row by its primary key, one column, which each row holds too."""
    names = tuple(rows[0])
    if not _go_singly(connection, rows):
        execute(connection, _update_of_json(table, names), _json(table, rows))
    elif len(rows) > 1:
        connection.execute(_update_of_rows(table, names), [_suffixed(each) for each in rows])
    else:
        execute(connection, _update_of_rows(table, names), _suffixed(rows[0]))


def among(wanted: ColumnElement[Any], *, is_sqlite: bool) -> ColumnElement[bool]:
    """Whether a column's value is in the list that the parameter KEYS holds: texts or numbers."""
    if is_sqlite:
        keys = func.json_each(bindparam(KEYS, type_=JSON)).table_valued("value")
        return wanted.in_(select(keys.c.value))
    return wanted == any_(bindparam(KEYS, type_=ARRAY(wanted.type)))


def is_sqlite(connection: Connection) -> bool:
    """Whether this is a file, not a server."""
    return connection.dialect.name == "sqlite"


def _go_singly(connection: Connection, rows: Sequence[Row]) -> bool:
    """Whether JSON brings nothing: one row costs less without, and a file takes them in C."""
    return len(rows) == 1 or is_sqlite(connection)


@cache
def _insert_of_rows(table: Table, how: How, *, is_sqlite: bool) -> Executable:
    # Inline, since nobody asks for the number that a single row has got.
    return how(table, insert_into(table, is_sqlite=is_sqlite).inline())


@cache
def _insert_of_json(table: Table, how: How, names: tuple[str, ...]) -> Executable:
    rows = _recordset(table, names)
    insert = insert_into(table, is_sqlite=False)
    return how(table, insert.from_select(names, select(*rows.c)))


@cache
def _update_of_rows(table: Table, names: tuple[str, ...]) -> Executable:
    (key,) = table.primary_key.columns
    values: dict[str, Any] = {
        name: bindparam(_parameter(name)) for name in names if name != key.name
    }
    return update(table).where(key == bindparam(_parameter(key.name))).values(values)


@cache
def _update_of_json(table: Table, names: tuple[str, ...]) -> Executable:
    (key,) = table.primary_key.columns
    rows = _recordset(table, names)
    values = {name: rows.c[name] for name in names if name != key.name}
    return update(table).where(key == rows.c[key.name]).values(values)


def _recordset(table: Table, names: tuple[str, ...]) -> TableValuedAlias:
    columns = [column(name, table.c[name].type) for name in names]
    rows = func.json_to_recordset(cast(bindparam(ROWS, type_=Text), JSON))
    return rows.table_valued(*columns).render_derived(with_types=True)


def _json(table: Table, rows: Sequence[Row]) -> dict[str, str]:
    for name in _times(table, tuple(rows[0])):
        for each in rows:
            require_aware(each[name])
    return {ROWS: to_json(rows).decode()}


@cache
def _times(table: Table, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if isinstance(table.c[name].type, UtcTime)]


def _suffixed(row: Row) -> dict[str, Any]:
    return {_parameter(name): value for name, value in row.items()}


def _parameter(name: str) -> str:
    # SQLAlchemy keeps a column's own name for its value in SET and VALUES.
    return f"{name}_"
