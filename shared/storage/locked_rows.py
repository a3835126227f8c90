"""The rows of one table that a batch changes: locked and read together, and written together.

Handlers change plain objects in between. So a batch costs two statements for each table, however
many events it has, and a handler sees what earlier events of the batch changed.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Connection, Result, Select, Table, UpdateBase, select

from shared.storage import bulk
from shared.storage.compiled import execute

R = TypeVar("R")


class LockedRows(Mapping[str, R]):
    """Rows by primary key; assign to their fields, then call `write`.

    Args:
        table: its primary key is one column.
        row_type: a dataclass whose fields are the table's columns.
    """

    def __init__(self, connection: Connection, table: Table, row_type: type[R]) -> None:
        self._connection = connection
        self._table = table
        self._row_type = row_type
        (self._key,) = table.primary_key.columns
        self._rows: dict[str, R] = {}
        self._stored: dict[str, dict[str, Any]] = {}

    def lock(self, keys: Iterable[str]) -> None:
        """Lock and read the existing rows of these keys, in one statement.

        Every process locks in key order, so that processes wait instead of deadlocking.
        """
        ordered = sorted(set(keys))
        if ordered:
            is_sqlite = bulk.is_sqlite(self._connection)
            statement = _select_for_update(self._table, is_sqlite=is_sqlite)
            self._keep(execute(self._connection, statement, {bulk.KEYS: ordered}))

    def lock_or_insert(self, keys: Iterable[str]) -> None:
        """Lock and read the rows of these keys, and insert missing ones, in one statement.

        SELECT … FOR UPDATE locks no row that does not exist yet, so two processes could both
        insert it. An upsert that changes nothing locks the key in either case.
        """
        rows = [{self._key.name: key} for key in sorted(set(keys))]
        if rows:
            self._keep(
                bulk.insert_many(self._connection, self._table, rows, add_clauses=_lock_existing)
            )

    def write(self) -> None:
        """Write the rows that changed, in one statement.

        It is an upsert, since that always finds a row by its key; see docs/decisions/0008.
        """
        changed = [vars(row) for key, row in self._rows.items() if vars(row) != self._stored[key]]
        if changed:
            bulk.insert_many(
                self._connection, self._table, changed, add_clauses=_overwrite_existing
            )

    def _keep(self, result: Result[Any]) -> None:
        for row in result.mappings():
            self._rows[row[self._key.name]] = self._row_type(**row)
            self._stored[row[self._key.name]] = dict(row)

    def __getitem__(self, key: str) -> R:
        return self._rows[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


@cache
def _select_for_update(table: Table, *, is_sqlite: bool) -> Select[Any]:
    (key,) = table.primary_key.columns
    rows = select(table).where(bulk.is_among(key, is_sqlite=is_sqlite))
    return rows.order_by(key).with_for_update()


def _lock_existing(table: Table, insert: bulk.Insert) -> UpdateBase:
    (key,) = table.primary_key.columns
    upsert = insert.on_conflict_do_update(
        index_elements=[key], set_={key.name: insert.excluded[key.name]}
    )
    return upsert.returning(*table.c)


def _overwrite_existing(table: Table, insert: bulk.Insert) -> UpdateBase:
    (key,) = table.primary_key.columns
    values = {column.name: insert.excluded[column.name] for column in table.c if column is not key}
    return insert.on_conflict_do_update(index_elements=[key], set_=values)
