"""The dead letters that a person discarded: which, who, when and why. Never pruned."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from shared.storage.database import Database
from shared.storage.tables import discards


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard:
    """One discarded letter, without personal data.

    Attributes:
        letter_id: the event's id; of what is no event, whatever it could be told by.
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
    """Keep it; what is there already stays as it is, so that it may be done again."""
    row = {name: getattr(discard, name) for name in Discard.__slots__ if name != "discarded_at"}
    connection.execute(database.insert(discards).on_conflict_do_nothing(), [row])


def find(connection: Connection, name: str, *, by_end: bool) -> Discard | None:
    """The record of a letter; None if there is none, or several.

    Args:
        name: its id.
        by_end: or the end of it.
    """
    letter_id = discards.c.letter_id
    is_it = letter_id.endswith(name, autoescape=True) if by_end else letter_id == name
    wanted = select(discards).where(is_it)
    rows = connection.execute(wanted.limit(2)).mappings().all()
    return Discard(**rows[0]) if len(rows) == 1 else None


def everything(connection: Connection) -> list[Discard]:
    """All records, newest first: each was a person's decision, so there are not many."""
    wanted = select(discards).order_by(discards.c.discarded_at.desc(), discards.c.letter_id)
    return [Discard(**row) for row in connection.execute(wanted).mappings()]
