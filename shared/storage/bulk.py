"""Inserts and looks up many rows in one statement, in the order given.

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
    Text,
    UpdateBase,
    any_,
    bindparam,
    cast,
    column,
    func,
    select,
)

from shared.storage.columns import UtcTime, require_aware
from shared.storage.compiled import execute

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

    Insert = postgresql.Insert | sqlite.Insert
else:
    from sqlalchemy import Insert
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
    rows: Sequence[Mapping[str, Any]],
    *,
    add_clauses: AddClauses = no_clauses,
) -> Result[Any]:
    """Insert rows.

    Args:
        rows: at least one, all with the same columns.
        add_clauses: a module's function; it is called once, and the statement is kept.
    """
    if len(rows) == 1:  # costs less without JSON
        statement = _insert_of_rows(table, add_clauses, is_sqlite=is_sqlite(connection))
        return execute(connection, statement, rows[0])
    if is_sqlite(connection):
        statement = _insert_of_rows(table, add_clauses, is_sqlite=True)
        return connection.execute(statement, rows)
    statement = _insert_of_json(table, add_clauses, tuple(rows[0]))
    return execute(connection, statement, _as_json(table, rows))


def is_among(key: ColumnElement[Any], *, is_sqlite: bool) -> ColumnElement[bool]:
    """Whether a column's value, text or number, is in the list that the parameter KEYS holds."""
    if is_sqlite:
        keys = func.json_each(bindparam(KEYS, type_=JSON)).table_valued("value")
        return key.in_(select(keys.c.value))
    return key == any_(bindparam(KEYS, type_=ARRAY(key.type)))


def is_sqlite(connection: Connection) -> bool:
    """Whether the connection is one to SQLite."""
    return connection.dialect.name == "sqlite"


@cache
def _insert_of_rows(table: Table, add_clauses: AddClauses, *, is_sqlite: bool) -> UpdateBase:
    # Inline: SQLAlchemy need not return a generated key.
    return add_clauses(table, insert_into(table, is_sqlite=is_sqlite).inline())


@cache
def _insert_of_json(table: Table, add_clauses: AddClauses, names: tuple[str, ...]) -> UpdateBase:
    columns = [column(name, table.c[name].type) for name in names]
    recordset = func.json_to_recordset(cast(bindparam(_ROWS, type_=Text), JSON))
    rows = recordset.table_valued(*columns).render_derived(with_types=True)
    insert = insert_into(table, is_sqlite=False)
    return add_clauses(table, insert.from_select(names, select(*rows.c)))


def _as_json(table: Table, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    times = [name for name in rows[0] if isinstance(table.c[name].type, UtcTime)]
    for row in rows:
        for name in times:
            require_aware(row[name])
    return {_ROWS: to_json(rows).decode()}
