"""The events that a service has handled, so that no event takes effect twice."""

from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, Table, UpdateBase, delete, select

from shared.events import DomainEvent
from shared.storage import bulk
from shared.storage.tables import inbox

HANDLED = "handled"
DISCARDED = "discarded"


def enter(
    connection: Connection, events: Collection[DomainEvent], *, outcome: str = HANDLED
) -> set[UUID]:
    """Insert events into the inbox, in one statement.

    Args:
        events: at least one.

    Returns:
        The ids that are new; the other events have been handled before.
    """
    # Sorted by id, so that two processes with the same events wait instead of deadlocking.
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
    return set(bulk.insert_many(connection, inbox, rows, add_clauses=_skip_existing).scalars())


def _skip_existing(_table: Table, insert: bulk.Insert) -> UpdateBase:
    return insert.on_conflict_do_nothing().returning(inbox.c.event_id)


def prune(connection: Connection, *, occurred_before: datetime) -> int:
    """Delete the events that occurred before this time; returns their number."""
    return connection.execute(delete(inbox).where(inbox.c.occurred_at < occurred_before)).rowcount


def outcomes(connection: Connection, event_ids: Iterable[str]) -> dict[str, str]:
    """The outcomes of the events that are in the inbox, by id; ids that are no UUID are ignored."""
    ids = [event_id for event_id in map(_uuid, event_ids) if event_id]
    statement = select(inbox.c.event_id, inbox.c.outcome).where(inbox.c.event_id.in_(ids))
    return {str(event_id): outcome for event_id, outcome in connection.execute(statement)}


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
