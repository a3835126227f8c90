"""Publishes messages into the embedded broker's file.

A batch is one transaction, which is on the disk when `publish` returns. An event is in the history
once, however often it is published; every copy is delivered, and the inbox detects duplicates.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from shared.errors import BrokerUnavailable
from shared.messaging.codec import LARGEST_EVENT_BYTES
from shared.messaging.embedded.file import BrokerFile
from shared.messaging.embedded.wakeup import QueueWakeups
from shared.messaging.ports.publisher import Message
from shared.messaging.topology import topics_matched

_ENQUEUE = """
    INSERT INTO messages
        (queue, event_id, type, event, body, topic, is_replay, replays, low_priority)
    SELECT :queue, :event_id, :type, kept.number, iif(kept.body = :body, NULL, :body),
           :topic, :is_replay, :replays, :low_priority
    FROM (SELECT 1) LEFT JOIN history AS kept ON kept.event_id = :event_id
"""

_RECORD = """
    INSERT INTO history
        (event_id, topic, type, source, correlation_id, body, occurred_at, published_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (event_id) DO NOTHING
"""

_SUBSCRIPTIONS = """
    SELECT name, pattern FROM queues LEFT JOIN bindings ON queue = name
    WHERE attempt_limit NOT NULL
"""

Subscriptions = Mapping[str, set[str]]
"""Binding keys by queue, without dead queues."""


class EmbeddedPublisher:
    """A publisher with a connection of its own."""

    def __init__(
        self,
        file: BrokerFile,
        *,
        clock: Callable[[], float],
        wakeups: QueueWakeups,
        on_close: Callable[["EmbeddedPublisher"], object],
    ) -> None:
        self._file = file
        self._clock = clock
        self._wakeups = wakeups
        self._on_close = on_close
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def publish(self, messages: Sequence[Message]) -> list[str | None]:
        if not messages:
            return []
        with self._lock, self._file.translate_errors():
            if self._connection is None:
                self._connection = self._file.open()
            with self._file.writing(self._connection):
                rejections, queues = _write(self._connection, messages, now=self._clock())
        self._wakeups.notify(queues)
        return rejections

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._on_close(self)


def _write(
    connection: sqlite3.Connection, messages: Sequence[Message], *, now: float
) -> tuple[list[str | None], set[str]]:
    """Returns a reason for each rejected message, None for the others, and the changed queues."""
    subscriptions = _subscriptions(connection)
    if not subscriptions:
        raise BrokerUnavailable("the broker has no queues yet; make them with: shop setup")
    rejections = [_rejection(message, subscriptions) for message in messages]
    accepted = [
        message for message, reason in zip(messages, rejections, strict=True) if reason is None
    ]
    connection.executemany(
        _RECORD, [_history_row(message, now) for message in accepted if message.only_to is None]
    )
    copies = list(_copies(accepted, subscriptions))
    connection.executemany(_ENQUEUE, copies)
    return rejections, {str(copy["queue"]) for copy in copies}


def _subscriptions(connection: sqlite3.Connection) -> Subscriptions:
    subscriptions: dict[str, set[str]] = {}
    for queue, pattern in connection.execute(_SUBSCRIPTIONS):
        subscriptions.setdefault(queue, set()).update([pattern] if pattern else [])
    return subscriptions


def _rejection(message: Message, subscriptions: Subscriptions) -> str | None:
    if len(message.body) > LARGEST_EVENT_BYTES:
        return f"it has {len(message.body)} bytes; the limit is 1 MiB"
    try:
        f"{message.event_id}{message.topic}{message.type}{message.source}".encode()
    except UnicodeEncodeError as error:
        return f"the broker cannot store it: {type(error).__name__}"
    if message.only_to is not None and message.only_to not in subscriptions:
        return f"there is no queue {message.only_to}"
    return None


def _copies(
    messages: Sequence[Message], subscriptions: Subscriptions
) -> Iterator[dict[str, object]]:
    bound = {
        topic: [
            queue for queue, patterns in subscriptions.items() if topics_matched(patterns, topic)
        ]
        for topic in {message.topic for message in messages}
    }
    for message in messages:
        for queue in bound[message.topic] if message.only_to is None else [message.only_to]:
            yield {
                "queue": queue,
                "event_id": message.event_id,
                "type": message.type,
                "body": message.body,
                "topic": message.only_to or message.topic,
                "is_replay": message.only_to is not None,
                "replays": message.replays,
                "low_priority": message.low_priority,
            }


def _history_row(message: Message, now: float) -> tuple[object, ...]:
    return (
        message.event_id,
        message.topic,
        message.type,
        message.source,
        message.correlation_id,
        message.body,
        message.occurred_at and message.occurred_at.timestamp(),
        now,
    )
