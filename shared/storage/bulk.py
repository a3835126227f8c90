"""Inserts, updates and looks up many rows in one statement, in the order given.

PostgreSQL gets the rows as one JSON parameter, so a statement's text does not depend on their
number: it is compiled and prepared once. SQLite gets them row by row. Callers sort rows by key, so
that transactions with the same rows wait for each other instead of deadlocking.
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
    Result,
    Table,
    TableValuedAlias,
    Text,
    Update,
    UpdateBase,
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
AddClauses = Callable[[Table, Insert], UpdateBase]
"""Adds ON CONFLICT and RETURNING to an INSERT into a table."""

KEYS = "keys_"
"""The parameter of `is_among`."""

_ROWS = "rows_"


def insert_into(table: Table, *, is_sqlite: bool) -> Insert:
    """An INSERT that supports ON CONFLICT."""
    # Each is imported when it is needed: a dialect takes a tenth of a command's start.
    if is_sqlite:
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - see above

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - see above

    return postgresql.insert(table)


def no_clauses(_table: Table, insert: Insert) -> UpdateBase:
    """A plain INSERT."""
    return insert


def insert_many(
    connection: Connection,
    table: Table,
    rows: Sequence[Row],
    *,
    add_clauses: AddClauses = no_clauses,
) -> Result[Any]:
    """Insert rows.

    Args:
        rows: at least one, all with the same columns.
        add_clauses: a module's function; it is called once, and the statement is kept.
    """
    if _is_row_by_row(connection, rows):
        statement = _insert_of_rows(table, add_clauses, is_sqlite=is_sqlite(connection))
        if len(rows) > 1:
            return connection.execute(statement, [dict(row) for row in rows])
        return execute(connection, statement, rows[0])
    statement = _insert_of_json(table, add_clauses, tuple(rows[0]))
    return execute(connection, statement, _as_json(table, rows))


def update_many(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Update rows by their primary key.

    Args:
        rows: at least one, all with the same columns, among them the one of the primary key.
    """
    names = tuple(rows[0])
    if not _is_row_by_row(connection, rows):
        execute(connection, _update_of_json(table, names), _as_json(table, rows))
    elif len(rows) > 1:
        connection.execute(_update_of_rows(table, names), [_as_parameters(row) for row in rows])
    else:
        execute(connection, _update_of_rows(table, names), _as_parameters(rows[0]))


def is_among(key: ColumnElement[Any], *, is_sqlite: bool) -> ColumnElement[bool]:
    """Whether a column's value, text or number, is in the list that the parameter KEYS holds."""
    if is_sqlite:
        keys = func.json_each(bindparam(KEYS, type_=JSON)).table_valued("value")
        return key.in_(select(keys.c.value))
    return key == any_(bindparam(KEYS, type_=ARRAY(key.type)))


def is_sqlite(connection: Connection) -> bool:
    """Whether the connection is one to SQLite."""
    return connection.dialect.name == "sqlite"


def _is_row_by_row(connection: Connection, rows: Sequence[Row]) -> bool:
    # One row costs less without JSON.
    return len(rows) == 1 or is_sqlite(connection)


@cache
def _insert_of_rows(table: Table, add_clauses: AddClauses, *, is_sqlite: bool) -> UpdateBase:
    # Inline: SQLAlchemy need not return a generated key.
    return add_clauses(table, insert_into(table, is_sqlite=is_sqlite).inline())


@cache
def _insert_of_json(table: Table, add_clauses: AddClauses, names: tuple[str, ...]) -> UpdateBase:
    rows = _recordset(table, names)
    insert = insert_into(table, is_sqlite=False)
    return add_clauses(table, insert.from_select(names, select(*rows.c)))


@cache
def _update_of_rows(table: Table, names: tuple[str, ...]) -> Update:
    (key,) = table.primary_key.columns
    values: dict[str, Any] = {
        name: bindparam(_parameter(name)) for name in names if name != key.name
    }
    return update(table).where(key == bindparam(_parameter(key.name))).values(values)


@cache
def _update_of_json(table: Table, names: tuple[str, ...]) -> Update:
    (key,) = table.primary_key.columns
    rows = _recordset(table, names)
    values = {name: rows.c[name] for name in names if name != key.name}
    return update(table).where(key == rows.c[key.name]).values(values)


def _recordset(table: Table, names: tuple[str, ...]) -> TableValuedAlias:
    columns = [column(name, table.c[name].type) for name in names]
    rows = func.json_to_recordset(cast(bindparam(_ROWS, type_=Text), JSON))
    return rows.table_valued(*columns).render_derived(with_types=True)


def _as_json(table: Table, rows: Sequence[Row]) -> dict[str, str]:
    times = [name for name in rows[0] if isinstance(table.c[name].type, UtcTime)]
    for row in rows:
        for name in times:
            require_aware(row[name])
    return {_ROWS: to_json(rows).decode()}


def _as_parameters(row: Row) -> dict[str, Any]:
    return {_parameter(name): value for name, value in row.items()}


def _parameter(name: str) -> str:
    # SQLAlchemy reserves a column's own name for its value in SET and VALUES.
    return f"{name}_"
