"""The messages in the embedded broker's queues: claiming, settling and counting them.

Functions that write must be called within a `writing` block of the file.
"""

import sqlite3
from collections.abc import Collection, Iterable
from typing import NamedTuple

from shared.errors import BrokerUnavailable
from shared.messaging.topology import Retry, dead_queue

REJECTED = "rejected"
DELIVERY_LIMIT = "delivery_limit"
"""Reasons why a message is dead, in RabbitMQ's words."""

_READY = """
    SELECT waiting.number, waiting.event_id, waiting.type, waiting.attempts, waiting.replays,
           coalesce(waiting.body, kept.body), waiting.topic, waiting.is_replay, waiting.reason
    FROM messages AS waiting LEFT JOIN history AS kept ON kept.number = waiting.event
    WHERE queue = ? AND holder IS NULL AND ready_at <= ?
    ORDER BY low_priority, waiting.number LIMIT ?
"""

_HELD = """
    SELECT queue, attempts + 1, step, longest, attempt_limit
    FROM messages JOIN queues ON name = queue WHERE number = ? AND holder = ?
"""

_RELEASE = """
    UPDATE messages SET queue = ?, attempts = ?, ready_at = ?, reason = ?, holder = NULL
    WHERE number = ?
"""


class ReadyMessage(NamedTuple):
    """A message that can be delivered, after `attempts` failures; a `reason` is why it is dead."""

    number: int
    event_id: str
    type: str
    attempts: int
    replays: int
    body: bytes
    topic: str
    is_replay: int
    reason: str | None


def require_queue(connection: sqlite3.Connection, queue: str) -> None:
    """Raise BrokerUnavailable for a queue that does not exist."""
    if not connection.execute("SELECT 1 FROM queues WHERE name = ?", (queue,)).fetchone():
        raise BrokerUnavailable(f"the broker has no queue {queue}; make it with: shop setup")


def register(connection: sqlite3.Connection, consumer: str, *, queue: str) -> None:
    """Register a consumer, which must hold its lock: without the lock it would count as dead."""
    require_queue(connection, queue)
    connection.execute("INSERT INTO consumers VALUES (?, ?)", (consumer, queue))


def unregister(connection: sqlite3.Connection, consumer: str) -> None:
    """Remove a consumer that holds no message."""
    connection.execute("DELETE FROM consumers WHERE id = ?", (consumer,))


def consumers_of(connection: sqlite3.Connection, queue: str) -> list[str]:
    """The registered consumers of a queue, alive or dead."""
    rows = connection.execute("SELECT id FROM consumers WHERE queue = ?", (queue,))
    return [consumer for (consumer,) in rows.fetchall()]


def is_any_ready(connection: sqlite3.Connection, queue: str, *, now: float) -> bool:
    """Whether `claim` would find a message; needs no write lock."""
    return bool(
        connection.execute(
            "SELECT 1 FROM messages WHERE queue = ? AND holder IS NULL AND ready_at <= ? LIMIT 1",
            (queue, now),
        ).fetchone()
    )


def next_ready_at(connection: sqlite3.Connection, queue: str) -> float:
    """When the first message without a holder becomes ready; infinity if there is none."""
    row = connection.execute(
        "SELECT min(ready_at) FROM messages WHERE queue = ? AND holder IS NULL", (queue,)
    ).fetchone()
    return float("inf") if row[0] is None else float(row[0])


def count_ready(
    connection: sqlite3.Connection, queue: str, *, living: Collection[str], now: float
) -> int:
    """Count ready messages, including those that dead consumers hold."""
    counts = connection.execute(
        "SELECT holder, count(*) FROM messages WHERE queue = ? AND ready_at <= ? GROUP BY holder",
        (queue, now),
    )
    return sum(count for holder, count in counts if holder not in living)


def claim(  # noqa: PLR0913 - two limits
    connection: sqlite3.Connection,
    queue: str,
    *,
    limit: int,
    max_bytes: int,
    holder: str,
    now: float,
) -> list[ReadyMessage]:
    """Give ready messages to a consumer, by priority and then by arrival.

    Args:
        limit: messages at most.
        max_bytes: of their bodies; the last message may exceed it.
    """
    ready: list[ReadyMessage] = []
    rows = connection.execute(_READY, (queue, now, limit if max_bytes > 0 else 0))
    for row in rows:
        ready.append(ReadyMessage(*row))
        max_bytes -= len(ready[-1].body)
        if max_bytes <= 0:
            break
    rows.close()
    connection.executemany(
        "UPDATE messages SET holder = ? WHERE number = ?",
        [(holder, message.number) for message in ready],
    )
    return ready


def held_by(connection: sqlite3.Connection, holder: str) -> list[int]:
    """The numbers of all messages that a consumer holds."""
    rows = connection.execute("SELECT number FROM messages WHERE holder = ?", (holder,))
    return [number for (number,) in rows.fetchall()]


def acknowledge(connection: sqlite3.Connection, numbers: Iterable[int], *, holder: str) -> None:
    """Delete messages that have been handled."""
    connection.executemany(
        "DELETE FROM messages WHERE number = ? AND holder = ?",
        [(number, holder) for number in numbers],
    )


def requeue(connection: sqlite3.Connection, numbers: Iterable[int], *, holder: str) -> None:
    """Make messages ready again at their old position, without counting an attempt."""
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
    """Count a failed attempt: delay each message, or move it to the dead queue past the limit.

    With a `reason` all messages are moved to the dead queue now.
    """
    for number in numbers:
        row = connection.execute(_HELD, (number, holder)).fetchone()
        if row is None:
            continue  # another consumer found this one's lock free and failed the message
        queue, failures, delay, max_delay, max_retries = row
        if max_retries is None:  # a dead queue counts no attempts and keeps everything
            requeue(connection, [number], holder=holder)
            continue
        retry = Retry(delay=delay, max_delay=max_delay, max_retries=max_retries)
        why = reason or (DELIVERY_LIMIT if failures > retry.max_retries else None)
        target = dead_queue(queue) if why else queue
        ready_at = 0.0 if why else now + retry.delay_after(failures)
        connection.execute(_RELEASE, (target, failures, ready_at, why, number))
