"""The messages in the embedded broker's queues: who holds them and what becomes of them.

Every function but `next_ready`, `is_any_ready` and `count_ready` belongs into a `writing` block.
"""

import sqlite3
from collections.abc import Collection, Iterable
from typing import NamedTuple

from shared.errors import BrokerUnavailable
from shared.messaging.topology import Retry, dead_queue

REJECTED = "rejected"
PAST_THE_LIMIT = "delivery_limit"
"""Why a message is dead, in RabbitMQ's words."""

_ENOUGH_BYTES = 16 * 1024 * 1024
"""What is read into memory at once; what is left is there the next time."""

_READY = """
    SELECT waiting.number, waiting.event_id, waiting.type, waiting.attempts, waiting.replays,
           coalesce(waiting.body, kept.body), waiting.reason
    FROM messages AS waiting LEFT JOIN history AS kept ON kept.number = waiting.event
    WHERE queue = ? AND holder IS NULL AND ready_at <= ?
    ORDER BY low_priority, waiting.number LIMIT ?
"""

_HELD = """
    SELECT queue, attempts + 1, step, longest, attempt_limit
    FROM messages JOIN queues ON name = queue WHERE number = ? AND holder = ?
"""

_COME_BACK = """
    UPDATE messages SET queue = ?, attempts = ?, ready_at = ?, reason = ?, holder = NULL
    WHERE number = ?
"""


class Ready(NamedTuple):
    """A message that can be delivered.

    Attributes:
        attempts: that have failed.
        reason: why it is dead; None in a live queue.
    """

    number: int
    event_id: str
    type: str
    attempts: int
    replays: int
    body: bytes
    reason: str | None


def register(connection: sqlite3.Connection, consumer: str, *, queue: str) -> None:
    """Let others know of a consumer, whose lock is held by now, or it would pass for dead."""
    row = connection.execute("SELECT 1 FROM queues WHERE name = ?", (queue,)).fetchone()
    if row is None:
        raise no_queue(queue)
    connection.execute("INSERT INTO consumers VALUES (?, ?)", (consumer, queue))


def others(connection: sqlite3.Connection, consumer: str, *, queue: str) -> list[str]:
    """The other consumers that a queue has, or had."""
    rows = connection.execute(
        "SELECT id FROM consumers WHERE queue = ? AND id <> ?", (queue, consumer)
    )
    return [other for (other,) in rows.fetchall()]


def unregister(connection: sqlite3.Connection, consumer: str) -> None:
    """Forget a consumer that holds nothing any more."""
    connection.execute("DELETE FROM consumers WHERE id = ?", (consumer,))


def is_any_ready(connection: sqlite3.Connection, queue: str, *, now: float) -> bool:
    """Whether there is something to claim: a cheap look, without the write lock."""
    return bool(
        connection.execute(
            "SELECT 1 FROM messages WHERE queue = ? AND holder IS NULL AND ready_at <= ? LIMIT 1",
            (queue, now),
        ).fetchone()
    )


def next_ready(connection: sqlite3.Connection, queue: str) -> float:
    """When the first of the messages that are held back becomes ready; infinity if none is."""
    row = connection.execute(
        "SELECT min(ready_at) FROM messages WHERE queue = ? AND holder IS NULL", (queue,)
    ).fetchone()
    return float("inf") if row[0] is None else float(row[0])


def count_ready(
    connection: sqlite3.Connection, queue: str, *, living: Collection[str], now: float
) -> int:
    """How many could be delivered; what a dead consumer held comes back to whoever asks next."""
    return sum(
        number
        for holder, number in connection.execute(
            "SELECT holder, count(*) FROM messages WHERE queue = ? AND ready_at <= ? "
            "GROUP BY holder",
            (queue, now),
        )
        if holder not in living
    )


def claim(
    connection: sqlite3.Connection, queue: str, *, most: int, holder: str, now: float
) -> list[Ready]:
    """Make the consumer the holder of what comes first: live before replays, then by arrival."""
    ready, size = [], 0
    for row in connection.execute(_READY, (queue, now, most)):
        ready.append(Ready(*row))
        size += len(ready[-1].body)
        if size > _ENOUGH_BYTES:
            break
    connection.executemany(
        "UPDATE messages SET holder = ? WHERE number = ?", [(holder, each.number) for each in ready]
    )
    return ready


def held_by(connection: sqlite3.Connection, holder: str) -> list[int]:
    """The numbers of all that a consumer holds."""
    rows = connection.execute("SELECT number FROM messages WHERE holder = ?", (holder,))
    return [number for (number,) in rows.fetchall()]


def forget(connection: sqlite3.Connection, numbers: Iterable[int], *, holder: str) -> None:
    """They have been handled."""
    connection.executemany(
        "DELETE FROM messages WHERE number = ? AND holder = ?",
        [(number, holder) for number in numbers],
    )


def hand_back(connection: sqlite3.Connection, numbers: Iterable[int], *, holder: str) -> None:
    """They were not attempted: ready at once, at their old place."""
    connection.executemany(
        "UPDATE messages SET holder = NULL WHERE number = ? AND holder = ?",
        [(number, holder) for number in numbers],
    )


def fail(
    connection: sqlite3.Connection,
    numbers: Iterable[int],
    *,
    holder: str,
    now: float,
    reason: str | None = None,
) -> None:
    """An attempt failed: back after the queue's delay; dead for the reason, or past the limit."""
    for number in numbers:
        found = connection.execute(_HELD, (number, holder)).fetchone()
        if found is None:
            continue  # somebody took this consumer for dead
        queue, failures, step, longest, limit = found
        if limit is None:  # a dead queue counts nothing and keeps all
            hand_back(connection, [number], holder=holder)
            continue
        retry = Retry(delay=step, max_delay=longest, max_retries=limit)
        why = reason or (PAST_THE_LIMIT if failures > retry.max_retries else None)
        place = dead_queue(queue) if why else queue
        ready_at = 0.0 if why else now + retry.delay_after(failures)
        connection.execute(_COME_BACK, (place, failures, ready_at, why, number))


def no_queue(name: str) -> BrokerUnavailable:
    """What to say of a queue that was never set up."""
    return BrokerUnavailable(f"the broker has no queue {name}; make it with: shop setup")
