"""Reads what a service's inbox, outbox and failures record about an order or about events."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, literal, select, union_all

from shared.storage.tables import failures, inbox, outbox


@dataclass(frozen=True, slots=True)
class EventSummary:
    """An event without its data; `causation_id` is None for a person's action."""

    event_id: UUID
    type: str
    occurred_at: datetime
    causation_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Mention:
    """An event about an order in a service's inbox or outbox."""

    event_id: UUID
    type: str
    occurred_at: datetime
    is_sent: bool


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """What became of an event that is in the inbox."""

    outcome: str
    handled_at: datetime


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One failed attempt to handle an event, as `failures` records it."""

    outcome: str
    error: str
    message: str
    failed_at: datetime


def mentions(connection: Connection, subject: str) -> list[Mention]:
    """The events about an order in the service's inbox and outbox."""
    columns = "event_id", "event_type", "occurred_at"
    received = select(*inbox.c[columns], literal(value=True)).where(inbox.c.subject == subject)
    is_sent = outbox.c.sent_at.is_not(None)
    published = select(*outbox.c[columns], is_sent).where(outbox.c.subject == subject)
    return [Mention(*row) for row in connection.execute(union_all(received, published))]


def inbox_entries(connection: Connection, event_ids: Collection[UUID]) -> dict[UUID, InboxEntry]:
    """What became of the events that are in the inbox."""
    columns = inbox.c.event_id, inbox.c.outcome, inbox.c.handled_at
    rows = connection.execute(select(*columns).where(inbox.c.event_id.in_(event_ids)))
    return {row.event_id: InboxEntry(row.outcome, row.handled_at) for row in rows}


def failed_attempts(
    connection: Connection, event_ids: Collection[UUID]
) -> dict[UUID, list[FailedAttempt]]:
    """The failed attempts of each event, oldest first."""
    columns = failures.c["event_id", "outcome", "error", "message", "failed_at"]
    ids = [str(event_id) for event_id in event_ids]
    statement = select(*columns).where(failures.c.event_id.in_(ids)).order_by(failures.c.number)
    attempts: dict[UUID, list[FailedAttempt]] = {}
    for event_id, *rest in connection.execute(statement):
        attempts.setdefault(UUID(event_id), []).append(FailedAttempt(*rest))
    return attempts
