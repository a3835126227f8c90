"""The embedded broker: topology and publishing, on a SQLite file.

Guarantees: those of shared.messaging.ports.broker, for any number of processes on one machine. A
batch is one transaction, on the disk when `publish` answers. An event stands in history once,
however often it is sent; its copies are delivered as often, and the inbox removes them.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from weakref import WeakSet

from shared.errors import BrokerUnavailable
from shared.messaging.codec import LARGEST_EVENT_BYTES
from shared.messaging.embedded.consumer import EmbeddedConsumer
from shared.messaging.embedded.file import BrokerFile
from shared.messaging.embedded.history import EmbeddedHistory
from shared.messaging.embedded.messages import count_ready, no_queue
from shared.messaging.embedded.wakeup import Wakeup
from shared.messaging.ports.broker import Depth
from shared.messaging.ports.publisher import Message
from shared.messaging.topology import Queue, Topology, dead_queue, topics_matched

_SECONDS_A_DAY = 86_400

_INTO_QUEUE = """
    INSERT INTO messages (queue, event_id, type, event, body, replays, low_priority)
    SELECT :queue, :event_id, :type, kept.number, iif(kept.body = :body, NULL, :body),
           :replays, :low_priority
    FROM (SELECT 1) LEFT JOIN history AS kept ON kept.event_id = :event_id
"""

_INTO_HISTORY = """
    INSERT INTO history
        (event_id, topic, type, source, correlation_id, body, occurred_at, published_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (event_id) DO NOTHING
"""

_FIRST_KEPT = """
    SELECT coalesce((SELECT min(number) FROM history WHERE published_at >= ?),
                    (SELECT max(number) + 1 FROM history), 1)
"""

_OUT_OF_HISTORY = (
    # Queues keep what waits there; a history with holes would pass for a whole one.
    """
    UPDATE messages
    SET event = NULL,
        body = coalesce(body, (SELECT kept.body FROM history AS kept WHERE kept.number = event))
    WHERE event < ?
    """,
    "DELETE FROM history WHERE number < ?",
)

_QUEUE = """
    INSERT INTO queues (name, step, longest, attempt_limit) VALUES (?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE
    SET step = excluded.step, longest = excluded.longest, attempt_limit = excluded.attempt_limit
"""


class EmbeddedBroker:
    """A broker in a file.

    Args:
        path: the file; made when it is missing.
        clock: seconds since the epoch; a test's may be turned.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._file = BrokerFile(path.absolute())
        self._clock = clock
        self._wakeup = Wakeup()
        self._open: WeakSet[EmbeddedPublisher | EmbeddedConsumer] = WeakSet()

    def set_up(self, topology: Topology) -> list[str]:
        """Make queues and bindings as the topology says; drop history that is too old."""
        with self._file.opened() as connection, self._file.writing(connection):
            connection.executemany(_QUEUE, chain(*map(_rows, topology.queues)))
            connection.execute("DELETE FROM bindings")  # also those of services that are no more
            connection.executemany("INSERT INTO bindings VALUES (?, ?)", _bindings(topology.queues))
            oldest = self._clock() - topology.history.days * _SECONDS_A_DAY
            first_kept = connection.execute(_FIRST_KEPT, (oldest,)).fetchone()
            for statement in _OUT_OF_HISTORY:
                connection.execute(statement, first_kept)
        return []

    def check(self, topology: Topology) -> list[str]:
        """What is not as the topology says, a sentence each."""
        with self._file.opened() as connection:
            found = {row[0]: row for row in connection.execute("SELECT * FROM queues")}
            bound = set(connection.execute("SELECT queue, pattern FROM bindings"))
        if not found:
            return ["nothing has been set up yet: run shop setup"]
        wanted = list(chain(*map(_rows, topology.queues)))
        missing = [row[0] for row in wanted if row[0] not in found]
        other = [row[0] for row in wanted if found.get(row[0], row) != row]
        bindings = set(_bindings(topology.queues))
        return [
            *(f"the queue {name} is missing" for name in missing),
            *(f"the queue {name} has other retry numbers" for name in other),
            *(f"{name} is not bound to {topic}" for name, topic in sorted(bindings - bound)),
            *(f"{name} is still bound to {topic}" for name, topic in sorted(bound - bindings)),
        ]

    def probe(self) -> str:
        """Name and version, if the file can be written."""
        with self._file.opened() as connection, self._file.writing(connection):
            return f"embedded broker (SQLite {sqlite3.sqlite_version})"

    def depth(self, queue: str) -> Depth:
        """How much waits in a queue, and how many consumers of it live."""
        with self._file.opened() as connection:
            if not connection.execute("SELECT 1 FROM queues WHERE name = ?", (queue,)).fetchone():
                raise no_queue(queue)
            known = connection.execute("SELECT id FROM consumers WHERE queue = ?", (queue,))
            living = {each for (each,) in known.fetchall() if self._file.is_held(each)}
            ready = count_ready(connection, queue, living=living, now=self._clock())
        return Depth(ready, len(living))

    def bind(self, queue: Queue) -> None:
        """Bind a queue that has been set up to what it subscribes to."""
        with self._file.opened() as connection, self._file.writing(connection):
            if queue.name not in _subscriptions(connection):
                raise no_queue(queue.name)
            connection.executemany(
                "INSERT OR IGNORE INTO bindings VALUES (?, ?)", _bindings([queue])
            )

    def publisher(self) -> "EmbeddedPublisher":
        """A new publisher."""
        publisher = EmbeddedPublisher(self._file, clock=self._clock, wakeup=self._wakeup)
        self._open.add(publisher)
        return publisher

    def consumer(self, queue: str, *, prefetch: int, slow_start: bool = True) -> EmbeddedConsumer:
        """A new consumer, which never holds more than `prefetch` unsettled."""
        consumer = EmbeddedConsumer(
            self._file,
            queue,
            prefetch=prefetch,
            slow_start=slow_start,
            clock=self._clock,
            wakeup=self._wakeup,
        )
        self._open.add(consumer)
        return consumer

    def history(self) -> EmbeddedHistory:
        """A new reader of all that was published."""
        return EmbeddedHistory(self._file)

    def close(self) -> None:
        """Close every publisher and consumer that is still open."""
        for each in list(self._open):
            each.close()


class EmbeddedPublisher:
    """A way in, on a connection of its own."""

    def __init__(self, file: BrokerFile, *, clock: Callable[[], float], wakeup: Wakeup) -> None:
        self._file = file
        self._clock = clock
        self._wakeup = wakeup
        self._connection: sqlite3.Connection | None = None
        self._turn = threading.Lock()

    def publish(self, messages: Sequence[Message]) -> list[str | None]:
        """Write all that can be taken, in one transaction."""
        if not messages:
            return []
        with self._turn, self._file.translate_errors():
            if self._connection is None:
                self._connection = self._file.open()
            with self._file.writing(self._connection):
                refused, reached = _write(self._connection, messages, now=self._clock())
        self._wakeup.notify(reached)
        return refused

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _write(
    connection: sqlite3.Connection, messages: Sequence[Message], *, now: float
) -> tuple[list[str | None], set[str]]:
    """Write what can be taken; answers why each is refused or None, and the queues reached."""
    subscriptions = _subscriptions(connection)
    if not subscriptions:
        raise BrokerUnavailable("the broker has no queues yet; make them with: shop setup")
    refused = [_why_not(message, subscriptions) for message in messages]
    taken = [message for message, why in zip(messages, refused, strict=True) if why is None]
    connection.executemany(
        _INTO_HISTORY, [_history_row(each, now) for each in taken if each.only_to is None]
    )
    copies = list(_copies(taken, subscriptions))
    connection.executemany(_INTO_QUEUE, copies)
    return refused, {str(each["queue"]) for each in copies}


def _why_not(message: Message, subscriptions: Mapping[str, set[str]]) -> str | None:
    if len(message.body) > LARGEST_EVENT_BYTES:
        return f"it has {len(message.body)} bytes; 1 MiB is most"
    if message.only_to is not None and message.only_to not in subscriptions:
        return f"there is no queue {message.only_to}"
    return None


def _copies(
    messages: Iterable[Message], subscriptions: Mapping[str, set[str]]
) -> Iterator[dict[str, object]]:
    reached: dict[str, list[str]] = {}
    for message in messages:
        topic = message.topic
        if topic not in reached:
            reached[topic] = [
                name for name, patterns in subscriptions.items() if topics_matched(patterns, topic)
            ]
        for queue in reached[topic] if message.only_to is None else [message.only_to]:
            yield {
                "queue": queue,
                "event_id": message.event_id,
                "type": message.type,
                "body": message.body,
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


def _subscriptions(connection: sqlite3.Connection) -> dict[str, set[str]]:
    """The topics of every queue that is not a dead one."""
    found: dict[str, set[str]] = {}
    for name, pattern in connection.execute(
        "SELECT name, pattern FROM queues LEFT JOIN bindings ON queue = name "
        "WHERE attempt_limit NOT NULL"
    ):
        found.setdefault(name, set()).update([pattern] if pattern else [])
    return found


def _rows(queue: Queue) -> list[tuple[str, float, float, int | None]]:
    retry = queue.retry
    return [
        (queue.name, retry.delay, retry.max_delay, retry.max_retries),
        (dead_queue(queue.name), 0.0, 0.0, None),
    ]


def _bindings(queues: Iterable[Queue]) -> list[tuple[str, str]]:
    return [(queue.name, topic) for queue in queues for topic in sorted(queue.topics)]
