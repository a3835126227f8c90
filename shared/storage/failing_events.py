"""The events that failed and will be delivered again, from the records of failed attempts.

An event is failing if its latest attempt is recorded as to be repeated, and the inbox does not have
it. The broker knows when it delivers the event again; this is the same on both brokers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, exists, func, literal_column, select

from shared.storage import inbox
from shared.storage.failures import RETRIED
from shared.storage.tables import failures, retried_events

_BATCH = 500
"""Events that are looked up in the inbox together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingEvent:
    """An event that failed and was not handled since.

    Attributes:
        attempt: the latest attempt, which failed.
        error, message, traceback: of that attempt, as `failures` records them.
        first_failed_at: when the first attempt since the last redrive failed.
    """

    event_id: str
    event_type: str
    subject: str | None
    attempt: int
    error: str
    message: str
    traceback: str
    first_failed_at: datetime
    failed_at: datetime


_later, _earlier = failures.alias(), failures.alias()
_first = (
    select(func.min(_earlier.c.failed_at))
    .where(_earlier.c.event_id == failures.c.event_id, _earlier.c.replays == failures.c.replays)
    .scalar_subquery()
)
_LATEST = (
    select(
        *failures.c["event_id", "event_type", "subject", "attempt", "error", "message"],
        *failures.c["traceback", "failed_at"],
        _first.label("first_failed_at"),
    )
    .where(
        failures.c.event_id.in_(select(retried_events.c.event_id)),
        failures.c.outcome == RETRIED,
        ~exists().where(
            _later.c.event_id == failures.c.event_id, _later.c.number > failures.c.number
        ),
    )
    # Added to 0, since SQLite would otherwise read all failures in the order of their numbers.
    .order_by(failures.c.number + literal_column("0"))
)


def failing_events(connection: Connection) -> Iterator[FailingEvent]:
    """Read the failing events, in the order of their latest attempts; memory is bounded.

    Equal stacks are one object, however many events have them.
    """
    stacks: dict[str, str] = {}
    rows: Iterator[Row[Any]] = iter(
        connection.execute(_LATEST, execution_options={"yield_per": _BATCH})
    )
    while batch := list(islice(rows, _BATCH)):
        for row in _not_in_inbox(connection, batch):
            values = row._asdict()
            values["traceback"] = stacks.setdefault(row.traceback, row.traceback)
            yield FailingEvent(**values)


def _not_in_inbox(connection: Connection, batch: Sequence[Row[Any]]) -> list[Row[Any]]:
    known = inbox.outcomes(connection, [row.event_id for row in batch])
    return [row for row in batch if row.event_id not in known]
