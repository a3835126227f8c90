"""The record of dead letters that a person discarded; it is never pruned."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from shared.storage.database import Database
from shared.storage.tables import discards


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard:
    """One discarded dead letter, without personal data.

    Attributes:
        letter_id: the event's id, or that of its `Identity` if the message is not an event.
        discarded_by: user and machine.
        discarded_at: set by the database.
    """

    letter_id: str
    event_type: str
    subject: str | None
    reason: str
    discarded_by: str
    discarded_at: datetime | None = None


def record(connection: Connection, database: Database, discard: Discard) -> None:
    """Store a discard, unless one of the same letter is stored already."""
    row = {name: getattr(discard, name) for name in Discard.__slots__ if name != "discarded_at"}
    connection.execute(database.insert(discards).on_conflict_do_nothing(), [row])


def find(connection: Connection, name: str, *, by_end: bool) -> Discard | None:
    """The discard of the letter whose id is `name`, or ends with it; None if not exactly one."""
    letter_id = discards.c.letter_id
    is_named = letter_id.endswith(name, autoescape=True) if by_end else letter_id == name
    statement = select(discards).where(is_named).limit(2)
    rows = connection.execute(statement).mappings().all()
    return Discard(**rows[0]) if len(rows) == 1 else None


def find_all(connection: Connection) -> list[Discard]:
    """All discards, newest first; each was a person's decision, so they are few."""
    statement = select(discards).order_by(discards.c.discarded_at.desc(), discards.c.letter_id)
    return [Discard(**row) for row in connection.execute(statement).mappings()]
