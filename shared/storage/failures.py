"""The record of failed attempts to handle an event, without personal data.

It holds the message of this project's errors only, since these contain ids and no personal data.
For other errors it holds the class and the stack, since their messages may quote any value, and
the resource that had run out, if that is the reason.
"""

import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal_column,
    select,
    update,
)

from shared.errors import ShopError
from shared.exhaustion import exhausted_resource
from shared.storage.bulk import insert_into
from shared.storage.tables import discards, failures, retried_events

RETRIED = "retried"
DEAD = "dead"
REDRIVEN = "sent again"
"""Outcomes of an attempt: REDRIVEN replaces DEAD when the event is redriven."""

_FINAL = (DEAD, REDRIVEN)

IS_DEAD = failures.c.outcome == literal_column(f"'{DEAD}'")
"""As the condition of an index has it: a parameter's value would not be known to be the same."""

ENDING_LENGTH = 6
"""How many characters at the end of an id are indexed."""

_indexed_ending = func.substr(
    failures.c.event_id,
    func.length(failures.c.event_id) - literal_column(str(ENDING_LENGTH - 1)),
)
"""As the index has it."""

WITHHELD = "(withheld: the message of an error from outside this project may quote personal data)"


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


class ErrorDescription(NamedTuple):
    """An error's class, message and stack, without personal data."""

    error: str
    message: str
    stack: str


def describe(error: BaseException) -> ErrorDescription:
    """Describe an error without personal data."""
    message = str(error) if isinstance(error, ShopError) else exhausted_resource(error) or WITHHELD
    stack = "".join(traceback.format_tb(error.__traceback__))
    return ErrorDescription(type(error).__name__, message, stack)


def record(connection: Connection, failure: Failure) -> None:
    """Store one failed attempt, and whether its event will be attempted again."""
    row = {name: getattr(failure, name) for name in Failure.__slots__}
    connection.execute(failures.insert(), [row])
    if failure.outcome == RETRIED:
        insert = insert_into(retried_events, is_sqlite=connection.dialect.name == "sqlite")
        connection.execute(insert.values(event_id=failure.event_id).on_conflict_do_nothing())
    else:
        note_handled(connection, [failure.event_id])


def note_handled(connection: Connection, event_ids: Sequence[str]) -> None:
    """Note that events will not be attempted again."""
    connection.execute(delete(retried_events).where(retried_events.c.event_id.in_(event_ids)))


def note_redriven(connection: Connection, letters: Iterable[tuple[str, int]]) -> None:
    """Record that dead letters were redriven; each is an id and its number of earlier redrives."""
    dead = update(failures).where(
        failures.c.event_id == bindparam("letter"),
        failures.c.replays <= bindparam("most_replays"),
        failures.c.outcome == DEAD,
    )
    # Sorted by id, so that two retries of the same letters wait instead of deadlocking.
    rows = [{"letter": letter, "most_replays": replays} for letter, replays in sorted(letters)]
    if rows:
        connection.execute(dead.values(outcome=REDRIVEN), rows)


def attempt_counts(connection: Connection, event_ids: Sequence[str]) -> dict[tuple[str, int], int]:
    """The number of recorded attempts, by event id and number of replays."""
    key = failures.c.event_id, failures.c.replays
    counts = select(*key, func.count()).where(failures.c.event_id.in_(event_ids)).group_by(*key)
    return {(event_id, replays): count for event_id, replays, count in connection.execute(counts)}


@dataclass(frozen=True, slots=True)
class FinalFailure:
    """The failure after which an event was dead."""

    error: str
    failed_at: datetime


def final_failures(
    connection: Connection, event_ids: Sequence[str]
) -> dict[str, dict[int, FinalFailure]]:
    """The final failure of each event, or else its last one, by id and number of replays."""
    is_final = case((failures.c.outcome.in_(_FINAL), 1), else_=0)
    rank = func.row_number().over(
        partition_by=(failures.c.event_id, failures.c.replays),
        order_by=(is_final.desc(), failures.c.number.desc()),
    )
    columns = failures.c["event_id", "replays", "error", "failed_at"]
    ranked = select(*columns, rank.label("rank")).where(failures.c.event_id.in_(event_ids))
    failed = ranked.subquery()
    final: dict[str, dict[int, FinalFailure]] = {}
    for row in connection.execute(select(failed).where(failed.c.rank == 1)):
        final.setdefault(row.event_id, {})[row.replays] = FinalFailure(row.error, row.failed_at)
    return final


def find(connection: Connection, event_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The recorded attempts of events, oldest first."""
    columns = [each for each in failures.c if each.name not in ("number", "event_id", "subject")]
    statement = select(*columns).where(failures.c.event_id.in_(event_ids))
    rows = connection.execute(statement.order_by(failures.c.number)).mappings()
    return [dict(row) for row in rows]


def ids_ending(connection: Connection, ending: str) -> list[str]:
    """The ids of events with failed attempts that end so; at most two.

    Args:
        ending: at least `ENDING_LENGTH` characters.
    """
    is_indexed = _indexed_ending == ending[-ENDING_LENGTH:]
    is_named = failures.c.event_id.endswith(ending, autoescape=True)
    named = select(failures.c.event_id).where(is_indexed, is_named)
    return list(connection.execute(named.distinct().limit(2)).scalars())


def count_dead(connection: Connection, *, since: datetime) -> int:
    """The number of final failures since this time."""
    recent = (failures.c.failed_at >= since) & failures.c.outcome.in_(_FINAL)
    return connection.execute(select(func.count()).where(recent)).scalar_one()


def dead_of(connection: Connection, error: str, limit: int) -> tuple[int, list[str]]:
    """How many messages are dead of this error and not discarded, and the newest messages of it.

    Args:
        error: the error's class; one whose messages are recorded under ids of their own.
        limit: how many of the error's messages to return.
    """
    is_discarded = exists().where(discards.c.letter_id == failures.c.event_id)
    is_dead = (failures.c.error == error) & IS_DEAD & ~is_discarded
    number = select(func.count(failures.c.event_id.distinct())).where(is_dead)
    newest = (
        select(failures.c.message)
        .where(is_dead)
        .group_by(failures.c.message)
        .order_by(func.max(failures.c.number).desc())
        .limit(limit)
    )
    return connection.execute(number).scalar_one(), list(connection.execute(newest).scalars())
