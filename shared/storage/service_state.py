"""What the processes of a service leave in its database for `shop doctor`: one row.

A pause stays recorded when its process ends, so that the next one continues it: it probes before it
consumes, and the pause has the time at which the dependency was first missed. While a process waits
it writes the time of each probe, so a pause that nobody has seen for a while is one of a process
that has ended. All times are by the database's clock.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, type_coerce, update

from shared.storage.columns import UtcTime
from shared.storage.database import Database
from shared.storage.tables import DatabaseClock, service_state

FRESH_SECONDS = 90.0
"""A process that waits writes at least every 30 s, and 15 s later if the database is slow."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Why the processes of a service do not consume.

    Attributes:
        seconds: how long it has lasted.
        is_fresh: whether a process still waits; False if the one that paused has ended.
    """

    since: datetime
    reason: str
    seconds: float
    is_fresh: bool


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What the service's processes have left.

    Attributes:
        gateway: what its gateway uses, such as a mail server, without a password; None if it has
            none, or no process has started yet.
    """

    gateway: str | None = None
    pause: Pause | None = None


def find(connection: Connection) -> ServiceState:
    """What the processes have left."""
    now = type_coerce(DatabaseClock(), UtcTime).label("now")
    row = connection.execute(select(service_state, now)).one_or_none()
    if row is None:
        return ServiceState()
    if row.paused_since is None:
        return ServiceState(row.gateway)
    is_fresh = (row.now - row.seen_at).total_seconds() < FRESH_SECONDS
    seconds = (row.now - row.paused_since).total_seconds()
    return ServiceState(row.gateway, Pause(row.paused_since, row.paused_for, seconds, is_fresh))


def note_gateway(connection: Connection, database: Database, gateway: str | None) -> None:
    """Record what the gateway of a process that starts uses."""
    insert = database.insert(service_state).values(number=1, gateway=gateway)
    connection.execute(
        insert.on_conflict_do_update(index_elements=["number"], set_={"gateway": gateway})
    )


def note_pause(connection: Connection, database: Database, reason: str) -> None:
    """Record that a process waits, and for what; the time of a recorded pause stays."""
    clock = DatabaseClock()
    row = {"paused_for": reason, "seen_at": clock}
    insert = database.insert(service_state).values(number=1, paused_since=clock, **row)
    since = func.coalesce(service_state.c.paused_since, clock)
    connection.execute(
        insert.on_conflict_do_update(index_elements=["number"], set_={**row, "paused_since": since})
    )


def end_pause(connection: Connection) -> None:
    """Record that a process consumes again; another one that still waits notes it again."""
    values = dict.fromkeys(("paused_since", "paused_for", "seen_at"))
    is_paused = service_state.c.paused_since.is_not(None)
    connection.execute(update(service_state).where(is_paused).values(values))
