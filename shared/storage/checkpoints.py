"""The checkpoint of a service in the history, in the service's own database."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from shared.storage.database import Database
from shared.storage.tables import DatabaseClock, checkpoints


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The progress of a service's catch-up.

    Attributes:
        position: all events below it have been sent to the service.
        until: the position at which the catch-up ends; later events arrive in the queue.
    """

    position: int
    until: int
    is_complete: bool


def find(connection: Connection) -> Checkpoint | None:
    """The checkpoint; None for a service that never caught up with the history."""
    columns = checkpoints.c.position, checkpoints.c.until, checkpoints.c.caught_up_at
    row = connection.execute(select(*columns)).one_or_none()
    return Checkpoint(row.position, row.until, row.caught_up_at is not None) if row else None


def completed_at(connection: Connection) -> datetime | None:
    """When the catch-up ended; None if it never began or has not ended."""
    return connection.execute(select(checkpoints.c.caught_up_at)).scalar_one_or_none()


def begin(connection: Connection, database: Database, *, until: int) -> None:
    """Set the checkpoint to the beginning of the history, whatever it was before."""
    row = {"number": 1, "position": 0, "until": until, "caught_up_at": None}
    insert = database.insert(checkpoints).values(row)
    connection.execute(insert.on_conflict_do_update(index_elements=["number"], set_=row))


def advance(connection: Connection, position: int) -> None:
    """Move the checkpoint forward; it never moves back, since several processes may catch up."""
    forward = update(checkpoints).where(checkpoints.c.position < position)
    connection.execute(forward.values(position=position))


def complete(connection: Connection) -> None:
    """Mark the catch-up as ended."""
    connection.execute(update(checkpoints).values(caught_up_at=DatabaseClock()))
