"""What a service said and did about an order, or about events: for who looks across services."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, select

from shared.storage.tables import failures, inbox, outbox


@dataclass(frozen=True, slots=True)
class Envelope:
    """An event without its content.

    Attributes:
        causation_id: the event that caused it, None for a person's act.
    """

    event_id: UUID
    type: str
    occurred_at: datetime
    causation_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Mention:
    """An event about an order that a service has said, or heard.

    Attributes:
        is_sent: the broker has it.
    """

    event_id: UUID
    type: str
    occurred_at: datetime
    is_sent: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """What the inbox says of an event."""

    outcome: str
    handled_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One failed attempt.

    Attributes:
        outcome: `retried`, or `dead` for the last; `sent again` for one that was the last until a
            person sent the event again.
        error: its class.
        message: what it said, where it was ours; no personal data.
    """

    outcome: str
    error: str
    message: str
    failed_at: datetime


def mentions(connection: Connection, subject: str) -> list[Mention]:
    """The events about an order that stand in the service's inbox and outbox."""
    heard = select(inbox.c.event_id, inbox.c.event_type, inbox.c.occurred_at)
    said = select(outbox.c.event_id, outbox.c.event_type, outbox.c.occurred_at, outbox.c.sent_at)
    return [
        *(
            Mention(row.event_id, row.event_type, row.occurred_at, is_sent=True)
            for row in connection.execute(heard.where(inbox.c.subject == subject))
        ),
        *(
            Mention(row.event_id, row.event_type, row.occurred_at, is_sent=row.sent_at is not None)
            for row in connection.execute(said.where(outbox.c.subject == subject))
        ),
    ]


def entries(connection: Connection, event_ids: Collection[UUID]) -> dict[UUID, Entry]:
    """What the inbox says of events, where it knows them."""
    columns = inbox.c.event_id, inbox.c.outcome, inbox.c.handled_at
    found = connection.execute(select(*columns).where(inbox.c.event_id.in_(event_ids)))
    return {row.event_id: Entry(row.outcome, row.handled_at) for row in found}


def attempts(connection: Connection, event_ids: Collection[UUID]) -> dict[UUID, list[Attempt]]:
    """The failed attempts of events, oldest first."""
    columns = (
        failures.c.event_id,
        failures.c.outcome,
        failures.c.error,
        failures.c.message,
        failures.c.failed_at,
    )
    ids = [str(each) for each in event_ids]
    wanted = select(*columns).where(failures.c.event_id.in_(ids)).order_by(failures.c.number)
    found: dict[UUID, list[Attempt]] = {}
    for event_id, *rest in connection.execute(wanted):
        found.setdefault(UUID(event_id), []).append(Attempt(*rest))
    return found
