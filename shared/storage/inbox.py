"""What a service has handled, so that nothing happens twice."""

from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, Executable, Table, delete, select

from shared.events import DomainEvent
from shared.storage import bulk
from shared.storage.tables import inbox

HANDLED = "handled"
DISCARDED = "discarded"


def enter(
    connection: Connection, events: Collection[DomainEvent], *, outcome: str = HANDLED
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
    return set(bulk.insert_many(connection, inbox, rows, how=_unless_known).scalars())


def _unless_known(_table: Table, insert: bulk.Insert) -> Executable:
    return insert.on_conflict_do_nothing().returning(inbox.c.event_id)


def prune(connection: Connection, *, occurred_before: datetime) -> int:
    """Forget what occurred before then; answers how many."""
    return connection.execute(delete(inbox).where(inbox.c.occurred_at < occurred_before)).rowcount


def handled(connection: Connection, event_ids: Iterable[str]) -> dict[str, str]:
    """What became of events that the inbox knows, by id; ids that are none are not known."""
    ids = [found for found in map(_uuid, event_ids) if found]
    statement = select(inbox.c.event_id, inbox.c.outcome).where(inbox.c.event_id.in_(ids))
    return {str(event_id): outcome for event_id, outcome in connection.execute(statement)}


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
