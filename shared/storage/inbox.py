"""The events that a service has handled, so that no event takes effect twice.

A copy has the same source, id and content. A message with the id of another event is not a copy,
and is never dropped as one.
"""

from collections.abc import Collection, Iterable
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Table, UpdateBase, select

from shared.errors import ConflictingEvent
from shared.events import DomainEvent
from shared.messaging.identity import safe_id, safe_type
from shared.storage import bulk
from shared.storage.tables import inbox

HANDLED = "handled"
DISCARDED = "discarded"


class Entry(NamedTuple):
    """An event to enter, and what tells its copies from other messages with its id.

    Attributes:
        source: the source in the event's envelope.
        digest: of the message's body, see `digest_of`.
    """

    event: DomainEvent
    source: str
    digest: str

    @classmethod
    def of(cls, event: DomainEvent, body: bytes, *, source: str) -> "Entry":
        """The entry of an event that was decoded from this body."""
        return cls(event, source, digest_of(body))


def digest_of(body: bytes) -> str:
    """The digest by which the inbox knows a message's body: half of its SHA-256, hexadecimal."""
    return sha256(body).hexdigest()[:32]


def enter(connection: Connection, entries: Iterable[Entry], *, outcome: str = HANDLED) -> set[UUID]:
    """Insert events into the inbox, in one statement; a second one reads those that it has.

    Args:
        entries: at least one; copies of an event are entered once.

    Returns:
        The ids that are new; the other events have been handled before.

    Raises:
        ConflictingEvent: one has the id of another event, which the inbox has or which is among
            the entries; the transaction must be rolled back.
    """
    unique: dict[UUID, Entry] = {}
    for entry in entries:
        _require_copy(unique.setdefault(entry.event.event_id, entry), entry)
    # Sorted by id, so that two processes with the same events wait instead of deadlocking.
    rows = [
        {
            "event_id": event.event_id,
            "event_type": safe_type(event.type),
            "subject": None if event.subject is None else safe_id(event.subject),
            "outcome": outcome,
            "occurred_at": event.occurred_at,
            "source": source,
            "digest": digest,
        }
        for _, (event, source, digest) in sorted(unique.items())
    ]
    new = set(bulk.insert_many(connection, inbox, rows, add_clauses=_skip_existing).scalars())
    if len(new) < len(rows):
        known = contents(connection, unique.keys() - new)
        for event_id, (source, digest) in known.items():
            _require_copy(unique[event_id], unique[event_id]._replace(source=source, digest=digest))
    return new


def contents(connection: Connection, event_ids: Collection[UUID]) -> dict[UUID, tuple[str, str]]:
    """Source and digest of the events that the inbox has, by id.

    Rows from before these were recorded are missing: whatever has their id counts as a copy.
    """
    columns = inbox.c.event_id, inbox.c.source, inbox.c.digest
    is_known = inbox.c.event_id.in_(event_ids) & inbox.c.digest.is_not(None)
    rows = connection.execute(select(*columns).where(is_known))
    return {event_id: (source, digest) for event_id, source, digest in rows}


def _require_copy(one: Entry, other: Entry) -> None:
    if one[1:] != other[1:]:
        raise ConflictingEvent(
            f"{safe_type(one.event.type)} {one.event.event_id}: "
            "there is another event with this id, with other content or another source"
        )


def _skip_existing(_table: Table, insert: bulk.Insert) -> UpdateBase:
    return insert.on_conflict_do_nothing().returning(inbox.c.event_id)


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
