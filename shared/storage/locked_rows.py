"""The rows of one table that a batch touches: locked and read at once, written at once.

Between the two, handlers work on plain objects, so a batch costs two statements however many
events it holds, and an event sees what those before it did to the same row.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Executable, RowMapping, Select, Table, select

from shared.storage import bulk
from shared.storage.compiled import execute
from shared.storage.unit_of_work import Store

R = TypeVar("R")


class LockedRows(Mapping[str, R]):
    """Rows by key; what is assigned to their fields is kept by `write`.

    Args:
        table: with one column as its primary key.
        kind: a dataclass whose fields are the table's columns.
    """

    def __init__(self, store: Store, table: Table, kind: type[R]) -> None:
        self._store = store
        self._table = table
        self._kind = kind
        (self._key,) = table.primary_key.columns
        self._rows: dict[str, R] = {}
        self._read: dict[str, dict[str, Any]] = {}

    def lock(self, keys: Iterable[str]) -> None:
        """Lock and read those that are there, in the order of keys, in one statement.

        The same order in every process is what keeps them from deadlock.
        """
        wanted = sorted(set(keys))
        if wanted:
            connection = self._store.connection
            locking = _locking(self._table, is_sqlite=bulk.is_sqlite(connection))
            found = execute(connection, locking, {bulk.KEYS: wanted})
            self._keep(found.mappings().all())

    def lock_or_make(self, keys: Iterable[str]) -> None:
        """Lock and read rows, making those that are missing, in one statement.

        SELECT … FOR UPDATE locks nothing where there is no row yet, and two processes would each
        think themselves first; an upsert that changes nothing holds the key either way.
        """
        rows = [{self._key.name: key} for key in sorted(set(keys))]
        if rows:
            found = bulk.insert_many(self._store.connection, self._table, rows, how=_or_held)
            self._keep(found.mappings().all())

    def write(self) -> None:
        """Write the rows that have changed."""
        changed = [vars(row) for key, row in self._rows.items() if vars(row) != self._read[key]]
        if changed:
            bulk.update_many(self._store.connection, self._table, changed)

    def _keep(self, found: Sequence[RowMapping]) -> None:
        for row in found:
            self._rows[row[self._key.name]] = self._kind(**row)
            self._read[row[self._key.name]] = dict(row)

    def __getitem__(self, key: str) -> R:
        return self._rows[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


@cache
def _locking(table: Table, *, is_sqlite: bool) -> Select[Any]:
    """Rows by key, locked in the order of keys."""
    (key,) = table.primary_key.columns
    wanted = select(table).where(bulk.among(key, is_sqlite=is_sqlite))
    return wanted.order_by(key).with_for_update()


def _or_held(table: Table, insert: bulk.Insert) -> Executable:
    """An INSERT that holds, and answers, what is there already."""
    (key,) = table.primary_key.columns
    held = insert.on_conflict_do_update(
        index_elements=[key], set_={key.name: insert.excluded[key.name]}
    )
    return held.returning(*table.c)
