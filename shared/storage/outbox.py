"""The events that a service publishes: committed with its changes, and sent to the broker later."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import (
    Connection,
    Row,
    Select,
    Table,
    Update,
    UpdateBase,
    func,
    select,
    text,
    type_coerce,
    update,
)

from shared.errors import DependencyUnavailable
from shared.events import DomainEvent
from shared.exhaustion import exhausted_resource, reason_of
from shared.private_files import FILE_MODE
from shared.storage import bulk
from shared.storage.columns import UtcTime
from shared.storage.compiled import execute
from shared.storage.database import Database
from shared.storage.tables import DatabaseClock, outbox

CHANNEL = "outbox"
"""The PostgreSQL channel on which a process without a relay notifies the service's relay."""

PENDING = "SELECT 1 FROM outbox WHERE sent_at IS NULL AND refused IS NULL LIMIT 1"
"""Returns a row if any event is still to be sent."""

_is_pending = outbox.c.sent_at.is_(None) & outbox.c.rejected.is_(None)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event and its encoded message body."""

    event: DomainEvent
    body: bytes


def write(
    connection: Connection, outgoing: Sequence[Outgoing], *, notifies_relay: bool = False
) -> None:
    """Insert events into the outbox, in one statement; with `notifies_relay` it also notifies."""
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
    notifies = notifies_relay and not bulk.is_sqlite(connection)
    add_clauses = _notify_relay if notifies else bulk.no_clauses
    bulk.insert_many(connection, outbox, rows, add_clauses=add_clauses)


_listeners: list[Callable[[Sequence[Outgoing]], None]] = []


@contextmanager
def listening(listener: Callable[[Sequence[Outgoing]], None]) -> Iterator[None]:
    """Within the block, call a function with the events of each transaction that committed them.

    It is called in the thread of the transaction.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def committed(outgoing: Sequence[Outgoing]) -> None:
    """Tell the listeners that the transaction that wrote these events has committed."""
    for listener in _listeners:
        listener(outgoing)


def _notify_relay(_table: Table, insert: bulk.Insert) -> UpdateBase:
    return insert.returning(func.pg_notify(CHANNEL, ""))


def notify(connection: Connection, database: Database) -> None:
    """Wake the service's relay in another process, once this transaction commits.

    On SQLite the relay notices the commit. NOTIFY slows down every commit of the PostgreSQL
    cluster a little, so processes with a relay of their own do not use it.
    """
    if not database.is_sqlite:
        connection.execute(text(f"NOTIFY {CHANNEL}"))


@dataclass(slots=True)
class Claim:
    """Rows that only this relay may send, oldest first.

    Attributes:
        sent: numbers of the rows that the broker has confirmed; filled by the relay.
        rejected: the broker's reasons, by the numbers of the rows that it will never accept.
    """

    rows: Sequence[Row[Any]]
    sent: list[int] = field(default_factory=list)
    rejected: dict[int, str] = field(default_factory=dict)


@contextmanager
def claim(database: Database, limit: int) -> Iterator[Claim]:
    """Claim pending rows; when the block ends, those that it sent or rejected are marked.

    On PostgreSQL the rows stay locked meanwhile, and other relays skip them. Rows are never
    selected as "numbers above the last one", since numbers commit out of order. On SQLite a
    lock would block the service, so a relay locks a file beside the database; meanwhile the
    claims of other relays are empty.
    """
    if database.is_sqlite:
        yield from _claim_by_file(database, limit)
        return
    with database.begin() as connection:
        claimed = Claim(execute(connection, _pending(limit)).all())
        yield claimed
        _mark(connection, claimed)


def _claim_by_file(database: Database, limit: int) -> Iterator[Claim]:
    try:
        lock = FileLock(f"{database.path}.relay.lock", mode=FILE_MODE).acquire(blocking=False)
    except Timeout:
        yield Claim([])
        return
    except OSError as error:
        reason = exhausted_resource(error) or reason_of(error)
        raise DependencyUnavailable(f"the outbox's file lock cannot be opened: {reason}") from error
    with lock:
        with database.read() as connection:
            claimed = Claim(execute(connection, _pending(limit)).all())
        yield claimed
        if claimed.sent or claimed.rejected:
            with database.begin() as connection:
                _mark(connection, claimed)


@cache
def _pending(limit: int) -> Select[Any]:
    columns = outbox.c[
        "number", "event_id", "topic", "event_type", "correlation_id", "occurred_at", "body"
    ]
    pending = select(*columns).where(_is_pending).order_by(outbox.c.number).limit(limit)
    return pending.with_for_update(skip_locked=True)  # no effect on SQLite


def _mark(connection: Connection, claimed: Claim) -> None:
    if claimed.sent:
        mark_sent = _mark_sent(is_sqlite=bulk.is_sqlite(connection))
        execute(connection, mark_sent, {bulk.KEYS: claimed.sent})
    for number, reason in claimed.rejected.items():
        connection.execute(update(outbox).where(outbox.c.number == number).values(rejected=reason))


@cache
def _mark_sent(*, is_sqlite: bool) -> Update:
    is_sent = bulk.is_among(outbox.c.number, is_sqlite=is_sqlite)
    return update(outbox).where(is_sent).values(sent_at=DatabaseClock())


@dataclass(frozen=True, slots=True)
class Backlog:
    """Numbers of pending and rejected events, and the age of the oldest pending one in seconds."""

    depth: int
    age: float
    rejected: int


def backlog(connection: Connection) -> Backlog:
    """The outbox's backlog, by the database's clock."""
    clock = type_coerce(DatabaseClock(), UtcTime)
    depth, oldest, now = connection.execute(
        select(func.count(), func.min(outbox.c.created_at), clock).where(_is_pending)
    ).one()
    count_rejected = select(func.count()).where(outbox.c.rejected.is_not(None))
    rejected = connection.execute(count_rejected).scalar_one()
    age = (now - oldest).total_seconds() if oldest else 0.0
    return Backlog(depth, age, rejected)


def rejected_events(connection: Connection, limit: int) -> list[tuple[str, str, str]]:
    """The rejected events, oldest first: id, type and reason."""
    columns = outbox.c.event_id, outbox.c.event_type, outbox.c.rejected
    statement = select(*columns).where(outbox.c.rejected.is_not(None)).order_by(outbox.c.number)
    rows = connection.execute(statement.limit(limit))
    return [(str(event_id), event_type, reason) for event_id, event_type, reason in rows]


def resend(connection: Connection, database: Database) -> int:
    """Make the rejected events pending again; returns their number."""
    rejected = update(outbox).where(outbox.c.rejected.is_not(None))
    number = connection.execute(rejected.values(rejected=None)).rowcount
    if number:
        notify(connection, database)
    return number
