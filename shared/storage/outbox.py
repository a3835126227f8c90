"""What a service has decided to say, committed with the decision and sent afterwards."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import (
    Connection,
    Executable,
    Row,
    Select,
    Table,
    Update,
    delete,
    func,
    select,
    text,
    type_coerce,
    update,
)

from shared.events import DomainEvent
from shared.storage import bulk
from shared.storage.columns import UtcTime
from shared.storage.compiled import execute
from shared.storage.database import Database
from shared.storage.tables import DatabaseClock, outbox

CHANNEL = "outbox"
"""PostgreSQL's NOTIFY channel by which a process without a relay wakes one."""

SOMETHING_WAITS = "SELECT 1 FROM outbox WHERE sent_at IS NULL AND refused IS NULL LIMIT 1"

_waiting = outbox.c.sent_at.is_(None) & outbox.c.refused.is_(None)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event and its bytes, as it will be sent."""

    event: DomainEvent
    body: bytes


def write(connection: Connection, outgoing: Sequence[Outgoing], *, calls: bool = False) -> None:
    """Put events into the outbox, in one statement.

    Args:
        calls: wake the service's relay in another process, as `notify` does.
    """
    if not outgoing:
        return
    rows = [
        {
            "event_id": each.event.event_id,
            "topic": each.event.topic,
            "event_type": each.event.type,
            "subject": each.event.subject,
            "correlation_id": each.event.correlation_id,
            "occurred_at": each.event.occurred_at,
            "body": each.body.decode(),
        }
        for each in outgoing
    ]
    calls_a_server = calls and not bulk.is_sqlite(connection)
    bulk.insert_many(
        connection, outbox, rows, how=_calling if calls_a_server else bulk.no_conflict_clause
    )


def _calling(_table: Table, insert: bulk.Insert) -> Executable:
    return insert.returning(func.pg_notify(CHANNEL, ""))


def notify(connection: Connection, database: Database) -> None:
    """Wake the service's relay in another process; it costs each commit of the cluster a little."""
    if not database.is_sqlite:
        connection.execute(text(f"NOTIFY {CHANNEL}"))


@dataclass(slots=True)
class Claim:
    """Rows that are this relay's alone to send, oldest first.

    Attributes:
        refused: why the broker will never take a row, by its number.
    """

    rows: Sequence[Row[Any]]
    sent: list[int] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)


@contextmanager
def claim(database: Database, most: int) -> Iterator[Claim]:
    """Claim what waits; what the block says was sent or refused is marked when it ends.

    Never "numbers above the last": numbers commit out of order. On PostgreSQL the rows stay
    locked meanwhile and other relays pass over them. On SQLite a lock would stop the service's
    own writing, so one relay at a time is held by a file beside the database.
    """
    if database.is_sqlite:
        yield from _claim_by_file(database, most)
        return
    with database.begin() as connection:
        claimed = Claim(execute(connection, _unclaimed(most)).all())
        yield claimed
        _mark(connection, claimed)


def _claim_by_file(database: Database, most: int) -> Iterator[Claim]:
    try:
        lock = FileLock(f"{database.path}.relay.lock").acquire(blocking=False)
    except Timeout:
        yield Claim([])
        return
    with lock:
        with database.read() as connection:
            claimed = Claim(execute(connection, _oldest(most)).all())
        yield claimed
        if claimed.sent or claimed.refused:
            with database.begin() as connection:
                _mark(connection, claimed)


@cache
def _unclaimed(most: int) -> Select[Any]:
    return _oldest(most).with_for_update(skip_locked=True)


@cache
def _oldest(most: int) -> Select[Any]:
    columns = (
        outbox.c.number,
        outbox.c.event_id,
        outbox.c.topic,
        outbox.c.event_type,
        outbox.c.correlation_id,
        outbox.c.occurred_at,
        outbox.c.body,
    )
    return select(*columns).where(_waiting).order_by(outbox.c.number).limit(most)


def _mark(connection: Connection, claimed: Claim) -> None:
    if claimed.sent:
        marking = _marking(is_sqlite=bulk.is_sqlite(connection))
        execute(connection, marking, {bulk.KEYS: claimed.sent})
    for number, reason in claimed.refused.items():
        connection.execute(update(outbox).where(outbox.c.number == number).values(refused=reason))


@cache
def _marking(*, is_sqlite: bool) -> Update:
    those = bulk.among(outbox.c.number, is_sqlite=is_sqlite)
    return update(outbox).where(those).values(sent_at=DatabaseClock())


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in an outbox.

    Attributes:
        depth: events not sent yet.
        age: seconds that the oldest of them has waited.
        refused: events that the broker will never take.
    """

    depth: int
    age: float
    refused: int


def backlog(connection: Connection) -> Backlog:
    """How much waits, and since when, by the database's clock."""
    now = type_coerce(DatabaseClock(), UtcTime)
    depth, oldest, looked_at = connection.execute(
        select(func.count(), func.min(outbox.c.created_at), now).where(_waiting)
    ).one()
    refused = connection.execute(
        select(func.count()).where(outbox.c.refused.is_not(None))
    ).scalar_one()
    age = (looked_at - oldest).total_seconds() if oldest else 0.0
    return Backlog(depth, age, refused)


def set_aside(connection: Connection, most: int) -> list[tuple[str, str, str]]:
    """What the broker would never take, oldest first: id, type and its reason."""
    columns = outbox.c.event_id, outbox.c.event_type, outbox.c.refused
    wanted = select(*columns).where(outbox.c.refused.is_not(None)).order_by(outbox.c.number)
    rows = connection.execute(wanted.limit(most))
    return [(str(row.event_id), row.event_type, row.refused) for row in rows]


def resend(connection: Connection, database: Database) -> int:
    """Let what was set aside be sent after all; answers how many."""
    again = update(outbox).where(outbox.c.refused.is_not(None)).values(refused=None)
    number = connection.execute(again).rowcount
    if number:
        notify(connection, database)
    return number


def prune(connection: Connection, *, before: datetime) -> int:
    """Forget what was sent before then; answers how many."""
    return connection.execute(delete(outbox).where(outbox.c.sent_at < before)).rowcount
