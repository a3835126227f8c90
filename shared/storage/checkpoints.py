"""How much of the history has been brought to a service; kept where its effects are."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from shared.storage.database import Database
from shared.storage.tables import DatabaseClock, history_place

_ONLY = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a service is in the history.

    Attributes:
        place: all below it has been brought.
        until: where it ends: what comes from there on reaches the service's queue by itself.
        is_done: nothing is left to do.
    """

    place: int
    until: int
    is_done: bool


def find(connection: Connection) -> Checkpoint | None:
    """The place; None for a service that was never brought any history."""
    columns = history_place.c.place, history_place.c.until, history_place.c.caught_up_at
    row = connection.execute(select(*columns)).one_or_none()
    return Checkpoint(row.place, row.until, row.caught_up_at is not None) if row else None


def finished_at(connection: Connection) -> datetime | None:
    """When nothing was left to do; None for a service that was brought no history, or not all."""
    return connection.execute(select(history_place.c.caught_up_at)).scalar_one_or_none()


def begin(connection: Connection, database: Database, *, until: int) -> None:
    """From the beginning, whatever was before."""
    row = {"number": _ONLY, "place": 0, "until": until, "caught_up_at": None}
    insert = database.insert(history_place).values(row)
    connection.execute(insert.on_conflict_do_update(index_elements=["number"], set_=row))


def advance(connection: Connection, place: int) -> None:
    """All below is there; a place never goes back, when several processes bring the same."""
    forward = update(history_place).where(history_place.c.place < place)
    connection.execute(forward.values(place=place))


def finish(connection: Connection) -> None:
    """Nothing is left to do."""
    connection.execute(update(history_place).values(caught_up_at=DatabaseClock()))
