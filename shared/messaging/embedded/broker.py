"""The embedded broker: set-up and checks, on a SQLite file that any number of processes share."""

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from shared.messaging.embedded.consumer import EmbeddedConsumer
from shared.messaging.embedded.file import BrokerFile
from shared.messaging.embedded.history import EmbeddedHistory
from shared.messaging.embedded.messages import consumers_of, count_ready, require_queue
from shared.messaging.embedded.publisher import EmbeddedPublisher
from shared.messaging.embedded.wakeup import QueueWakeups
from shared.messaging.ports.broker import Depth
from shared.messaging.topology import Queue, Topology, dead_queue, surplus_topics

_MIN_FREE_BYTES = 100_000_000
"""Of the disk; a checkpoint of SQLite's log needs up to the size of the log once more."""

_SET_UP_QUEUE = """
    INSERT INTO queues (name, step, longest, attempt_limit) VALUES (?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE
    SET step = excluded.step, longest = excluded.longest, attempt_limit = excluded.attempt_limit
"""

_FIRST_RETAINED = """
    SELECT coalesce((SELECT min(number) FROM history WHERE published_at >= ?),
                    (SELECT max(number) + 1 FROM history), 1)
"""

_DROPPED_TOGETHER = 10_000
"""Records of the history in one transaction, while which no other process can write."""

_DROP_HISTORY = (
    # Messages that still wait get a body of their own. Rows are dropped by number and not by time,
    # so that a clock that was set back leaves no gap.
    """
    UPDATE messages
    SET event = NULL,
        body = coalesce(body, (SELECT kept.body FROM history AS kept WHERE kept.number = event))
    WHERE event < ?
    """,
    "DELETE FROM history WHERE number < ?",
)


class EmbeddedBroker:
    """A broker in a SQLite file, created if missing; `clock` returns seconds since the epoch."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._file = BrokerFile(path.absolute())
        self._clock = clock
        self._wakeups = QueueWakeups()
        self._open: set[EmbeddedPublisher | EmbeddedConsumer] = set()

    @property
    def user(self) -> str:
        """Empty: every process that may use the file may write any message."""
        return ""

    def set_up(self, topology: Topology) -> list[str]:
        """Also drop history that is older than the retention."""
        with self._file.opened() as connection, self._file.writing(connection):
            connection.executemany(_SET_UP_QUEUE, _queue_rows(topology))
            connection.execute("DELETE FROM bindings")
            connection.executemany("INSERT INTO bindings VALUES (?, ?)", _bindings(topology.queues))
        self._drop_history(keep=topology.history.days * 86_400)
        return []

    def _drop_history(self, *, keep: float) -> None:
        with self._file.opened() as connection:
            (end,) = connection.execute(_FIRST_RETAINED, (self._clock() - keep,)).fetchone()
            (first,) = connection.execute("SELECT min(number) FROM history").fetchone()
            for upto in range(first or end, end, _DROPPED_TOGETHER):
                with self._file.writing(connection):
                    for statement in _DROP_HISTORY:
                        connection.execute(statement, (min(upto + _DROPPED_TOGETHER, end),))

    def check(self, topology: Topology) -> list[str]:
        with self._file.opened() as connection:
            rows = {row[0]: row for row in connection.execute("SELECT * FROM queues")}
            bound = set(connection.execute("SELECT queue, pattern FROM bindings"))
        if not rows:
            return ["nothing has been set up yet: run shop setup"]
        expected = _queue_rows(topology)
        bindings = set(_bindings(topology.queues))
        return [
            *(f"the queue {row[0]} is missing" for row in expected if row[0] not in rows),
            *(
                f"the queue {row[0]} has other retry numbers"
                for row in expected
                if rows.get(row[0], row) != row
            ),
            *(f"{name} is not bound to {topic}" for name, topic in sorted(bindings - bound)),
            *(f"{name} is still bound to {topic}" for name, topic in sorted(bound - bindings)),
        ]

    def ended_subscriptions(self, topology: Topology) -> dict[str, frozenset[str]]:
        with self._file.opened() as connection:
            bound = connection.execute("SELECT queue, pattern FROM bindings").fetchall()
        return surplus_topics(topology, bound)

    def probe(self) -> str:
        """See the port; checks that the file can be written."""
        with self._file.opened() as connection, self._file.writing(connection):
            self._file.probe(connection)
            return f"embedded broker (SQLite {sqlite3.sqlite_version})"

    def shortages(self) -> list[str]:
        """See the port."""
        free = shutil.disk_usage(self._file.path.parent).free
        if free >= _MIN_FREE_BYTES:
            return []
        return [f"the disk of {self._file.path} has {free // 1_000_000} MB left: free space on it"]

    def clock_difference(self) -> None:
        """See the port; its processes are on one machine."""

    def depth(self, queue: str) -> Depth:
        with self._file.opened() as connection:
            require_queue(connection, queue)
            living = set(filter(self._file.is_alive, consumers_of(connection, queue)))
            ready = count_ready(connection, queue, living=living, now=self._clock())
        return Depth(ready, len(living))

    def bind(self, queue: Queue) -> None:
        with self._file.opened() as connection, self._file.writing(connection):
            self._file.probe(connection)
            require_queue(connection, queue.name)
            connection.executemany(
                "INSERT OR IGNORE INTO bindings VALUES (?, ?)", _bindings([queue])
            )

    def publisher(self) -> EmbeddedPublisher:
        publisher = EmbeddedPublisher(
            self._file, clock=self._clock, wakeups=self._wakeups, on_close=self._open.discard
        )
        self._open.add(publisher)
        return publisher

    def consumer(self, queue: str, *, prefetch: int, slow_start: bool = True) -> EmbeddedConsumer:
        consumer = EmbeddedConsumer(
            self._file,
            queue,
            prefetch=prefetch,
            slow_start=slow_start,
            clock=self._clock,
            wakeups=self._wakeups,
            on_close=self._open.discard,
        )
        self._open.add(consumer)
        return consumer

    def history(self) -> EmbeddedHistory:
        return EmbeddedHistory(self._file)

    def close(self) -> None:
        for each in list(self._open):
            each.close()


def _queue_rows(topology: Topology) -> list[tuple[str, float, float, int | None]]:
    rows: list[tuple[str, float, float, int | None]] = []
    for queue in topology.queues:
        retry = queue.retry
        rows.append((queue.name, retry.delay, retry.max_delay, retry.max_retries))
        rows.append((dead_queue(queue.name), 0.0, 0.0, None))
    return rows


def _bindings(queues: Iterable[Queue]) -> list[tuple[str, str]]:
    return [(queue.name, topic) for queue in queues for topic in sorted(queue.topics)]
