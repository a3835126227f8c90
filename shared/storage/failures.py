"""Every failed attempt, kept so that a person can see why.

A record never holds a customer's address or mail: of this project's errors it keeps the message,
since those name ids only; of any other error it keeps the class and where it was raised, since
its message may quote whatever the code had in hand.
"""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, select

from shared.errors import ShopError
from shared.storage.tables import failures

WITHHELD = "(withheld: the message of an error that is not ours may quote personal data)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failed attempt, without personal data."""

    event_id: str
    event_type: str
    subject: str | None
    attempt: int
    replays: int
    outcome: str
    error: str
    message: str
    traceback: str


def described(error: BaseException) -> tuple[str, str, str]:
    """Class, message and stack of an error, without what could be personal."""
    message = str(error) if isinstance(error, ShopError) else WITHHELD
    stack = "".join(traceback.format_tb(error.__traceback__))
    return type(error).__name__, message, stack


def record(connection: Connection, failure: Failure) -> None:
    """Keep one failed attempt."""
    row = {name: getattr(failure, name) for name in Failure.__slots__}
    connection.execute(failures.insert(), [row])


def attempts(connection: Connection, event_ids: Sequence[str]) -> dict[tuple[str, int], int]:
    """How many attempts are recorded, by event and number of replays."""
    statement = (
        select(failures.c.event_id, failures.c.replays, func.count())
        .where(failures.c.event_id.in_(event_ids))
        .group_by(failures.c.event_id, failures.c.replays)
    )
    return {
        (event_id, replays): count for event_id, replays, count in connection.execute(statement)
    }


def prune(connection: Connection, *, before: datetime) -> int:
    """Forget what failed before then; answers how many."""
    return connection.execute(delete(failures).where(failures.c.failed_at < before)).rowcount
