"""What a service has handled, so that nothing happens twice."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, select

from shared.events import DomainEvent
from shared.storage.database import Database
from shared.storage.tables import inbox

HANDLED = "handled"
DISCARDED = "discarded"


def enter(
    connection: Connection,
    database: Database,
    events: Iterable[DomainEvent],
    *,
    outcome: str = HANDLED,
) -> set[UUID]:
    """Write events into the inbox, in one statement.

    Returns:
        The ids that were not there before; the others have been handled.
    """
    # In the order of ids, so that two processes with the same events wait and do not deadlock.
    rows = [
        {
            "event_id": event.event_id,
            "event_type": event.type,
            "subject": event.subject,
            "outcome": outcome,
            "occurred_at": event.occurred_at,
        }
        for event in sorted(events, key=lambda event: event.event_id)
    ]
    statement = database.insert(inbox).on_conflict_do_nothing().returning(inbox.c.event_id)
    return set(connection.execute(statement, rows).scalars())


def oldest_kept(connection: Connection) -> datetime | None:
    """When the oldest event that the inbox still knows occurred."""
    return connection.execute(
        select(inbox.c.occurred_at).order_by(inbox.c.occurred_at).limit(1)
    ).scalar()
