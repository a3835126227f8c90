"""Deletes old rows of the tables that grow for ever, a bounded number of them at a time.

Each batch is short, whatever the table's size is: it reads as many entries of an index as it
deletes rows. So it ends long before a statement's timeout, and holds no lock for long.
"""

from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Connection,
    Select,
    UpdateBase,
    any_,
    bindparam,
    delete,
    func,
    select,
)

from shared.storage import bulk
from shared.storage.columns import UtcTime
from shared.storage.tables import failures, inbox, outbox

BATCH_ROWS = 2_000

BEGINNING = datetime.min.replace(tzinfo=UTC)


class Prunable(NamedTuple):
    """The rows of a table that can be pruned.

    Attributes:
        key: its primary key.
        time: an indexed column; a row without a value in it is never pruned.
    """

    key: Column[Any]
    time: Column[datetime]

    @property
    def name(self) -> str:
        """The table's name."""
        return self.key.table.name


SENT_EVENTS = Prunable(outbox.c.number, outbox.c.sent_at)
FAILED_ATTEMPTS = Prunable(failures.c.number, failures.c.failed_at)
HANDLED_EVENTS = Prunable(inbox.c.event_id, inbox.c.occurred_at)


class PrunedBatch(NamedTuple):
    """The rows that were deleted.

    Attributes:
        last: the latest time of a deleted row; the next batch begins there.
    """

    rows: int
    last: datetime


def prune(
    connection: Connection,
    prunable: Prunable,
    *,
    before: datetime,
    after: datetime = BEGINNING,
    most: int = BATCH_ROWS,
) -> PrunedBatch:
    """Delete the oldest rows from before a time; rows that another process deletes are skipped.

    Args:
        after: where an earlier batch ended, so that the entries of deleted rows, which stay in
            PostgreSQL's index until a vacuum, are not read again.
        most: rows to delete at most; if there were fewer, none is left for this process.
    """
    statement = _delete_oldest(prunable, is_sqlite=bulk.is_sqlite(connection))
    parameters = {"before": before, "after": after, "most": most}
    times = connection.execute(statement, parameters).scalars().all()
    return PrunedBatch(len(times), max(times, default=after))


@cache
def _delete_oldest(prunable: Prunable, *, is_sqlite: bool) -> UpdateBase:
    key, time = prunable
    is_old = (time < bindparam("before", type_=UtcTime)) & (
        time >= bindparam("after", type_=UtcTime)
    )
    oldest = select(key).where(is_old).order_by(time).limit(bindparam("most"))
    return delete(key.table).where(_is_one_of(key, oldest, is_sqlite=is_sqlite)).returning(time)


def _is_one_of(key: Column[Any], chosen: Select[Any], *, is_sqlite: bool) -> ColumnElement[bool]:
    if is_sqlite:
        return key.in_(chosen)
    # As an array, it is selected once: PostgreSQL may execute a subquery with LIMIT repeatedly.
    locked = chosen.with_for_update(skip_locked=True).scalar_subquery()
    return key == any_(func.array(locked, type_=ARRAY(key.type)))
