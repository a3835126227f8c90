"""Every failed attempt, kept so that a person can see why.

A record never holds a customer's address or mail: of this project's errors it keeps the message,
since those name ids only; of any other error it keeps the class and where it was raised, since
its message may quote whatever the code had in hand.
"""

import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, case, delete, func, select, update

from shared.errors import ShopError
from shared.storage.tables import failures

RETRIED = "retried"
DEAD = "dead"
REDRIVEN = "sent again"
"""What became of an attempt; the last was an event's end too, until a person sent it again."""

_ENDS = (DEAD, REDRIVEN)

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


class Described(NamedTuple):
    """Class, message and stack of an error, without what could be personal."""

    error: str
    message: str
    stack: str


def described(error: BaseException) -> Described:
    """What may be kept of an error."""
    message = str(error) if isinstance(error, ShopError) else WITHHELD
    stack = "".join(traceback.format_tb(error.__traceback__))
    return Described(type(error).__name__, message, stack)


def record(connection: Connection, failure: Failure) -> None:
    """Keep one failed attempt."""
    row = {name: getattr(failure, name) for name in Failure.__slots__}
    connection.execute(failures.insert(), [row])


def note_redriven(connection: Connection, letters: Iterable[tuple[str, int]]) -> None:
    """Note that a person sent dead letters again.

    Args:
        letters: ids, each with how often it had been sent again before.
    """
    died = update(failures).where(
        failures.c.event_id == bindparam("letter"),
        failures.c.replays <= bindparam("before"),
        failures.c.outcome == DEAD,
    )
    # In the order of ids, so that two who retry the same wait and do not deadlock.
    rows = [{"letter": letter, "before": before} for letter, before in sorted(letters)]
    if rows:
        connection.execute(died.values(outcome=REDRIVEN), rows)


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


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an event died, as far as it was recorded."""

    error: str
    failed_at: datetime


def causes(connection: Connection, event_ids: Sequence[str]) -> dict[str, dict[int, Cause]]:
    """What each event died of, by its id and the number of its replays.

    That is its last failure that was its end; of one whose end nobody could record, the last.
    """
    is_end = case((failures.c.outcome.in_(_ENDS), 1), else_=0)
    rank = func.row_number().over(
        partition_by=(failures.c.event_id, failures.c.replays),
        order_by=(is_end.desc(), failures.c.number.desc()),
    )
    columns = failures.c.event_id, failures.c.replays, failures.c.error, failures.c.failed_at
    ranked = select(*columns, rank.label("rank")).where(failures.c.event_id.in_(event_ids))
    found = ranked.subquery()
    causes: dict[str, dict[int, Cause]] = {}
    for row in connection.execute(select(found).where(found.c.rank == 1)):
        causes.setdefault(row.event_id, {})[row.replays] = Cause(row.error, row.failed_at)
    return causes


def of(connection: Connection, event_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Every failed attempt that is recorded under one of these ids, oldest first."""
    columns = [each for each in failures.c if each.name not in ("number", "event_id", "subject")]
    wanted = select(*columns).where(failures.c.event_id.in_(event_ids))
    return [dict(row) for row in connection.execute(wanted.order_by(failures.c.number)).mappings()]


def died_since(connection: Connection, moment: datetime) -> int:
    """How many attempts since then were an event's last."""
    recent = (failures.c.failed_at >= moment) & failures.c.outcome.in_(_ENDS)
    return connection.execute(select(func.count()).where(recent)).scalar_one()


def prune(connection: Connection, *, before: datetime) -> int:
    """Forget what failed before then; answers how many."""
    return connection.execute(delete(failures).where(failures.c.failed_at < before)).rowcount
