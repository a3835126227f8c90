"""Consumes a queue of the embedded broker.

Guarantees: one consumer at a time holds a message, as long as its process lives, which a file lock
of the operating system proves. What a dead consumer held counts as a failed attempt, as with
RabbitMQ.
"""

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from threading import RLock
from uuid import uuid4

from filelock import Timeout

from shared.messaging import budget
from shared.messaging.embedded import messages
from shared.messaging.embedded.file import BrokerFile
from shared.messaging.embedded.wakeup import QueueWakeups
from shared.messaging.ports.consumer import SLOW_START_AFTER, Delivery, Outcome, Settlement
from shared.messaging.topology import dead_queue

_POLL_INTERVAL = 0.05
"""Seconds until a commit of another process, or a changed clock, is noticed."""

_CHECK_CONSUMERS_EVERY = 1.0
"""Seconds between two checks whether the other consumers of the queue are alive."""


class EmbeddedConsumer:
    """A consumer with a connection of its own."""

    def __init__(  # noqa: PLR0913 - the broker object's own parts
        self,
        file: BrokerFile,
        queue: str,
        *,
        prefetch: int,
        slow_start: bool,
        clock: Callable[[], float],
        wakeups: QueueWakeups,
        on_close: Callable[["EmbeddedConsumer"], object],
    ) -> None:
        self._file = file
        self._queue = queue
        self._prefetch = prefetch
        self._clock = clock
        self._wakeups = wakeups
        self._on_close = on_close
        self._condition = wakeups.condition_for(queue)
        self._id = uuid4().hex
        self._process_lock = file.lock_of(self._id)
        self._tags = count(1)
        self._held: dict[object, int] = {}  # message number by delivery tag
        self._untaken: deque[Delivery] = deque()  # held, but not yet returned by `take`
        self._unacknowledged: list[int] = []  # message numbers that are done, still in the file
        self._done_count = 0 if slow_start else SLOW_START_AFTER
        self._lock = RLock()  # `close` and `isolate` may come from other threads
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._woken = False
        self._next_ready_at = float("inf")
        self._check_consumers_at = 0.0

    @property
    def is_consuming(self) -> bool:
        return self._connection is not None

    def take(self, limit: int, /, *, wait: float) -> list[Delivery]:
        deadline = time.monotonic() + wait
        while True:
            with self._lock, self._file.translate_errors():
                if self._closed:
                    return []
                connection = self._connection or self._register()
                version = _data_version(connection)  # read first, so that no change is missed
                self._fail_messages_of_dead_consumers(connection)
                taken = self._next(connection, limit)
            if taken or not self._wait(version, deadline):
                return taken

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Write all outcomes and claim new messages in one transaction.

        While more deliveries are held, those that are done are written with the next transaction.
        If the process dies before, they are delivered again as duplicates.
        """
        with self._lock, self._file.translate_errors():
            if self._connection is None:
                return  # `close` has requeued them
            failed: dict[object, Outcome] = {}
            for delivery, outcome in settlements:
                if outcome is not Outcome.DONE and delivery.token in self._held:
                    failed[delivery.token] = outcome
                elif delivery.token in self._held:
                    self._unacknowledged.append(self._held.pop(delivery.token))
                    self._done_count += 1
            if failed or not self._untaken:
                self._write(self._connection, failed)
        if failed:
            self._wakeups.notify({self._queue, dead_queue(self._queue)})

    def isolate(self, delivery: Delivery) -> None:
        with self._lock, self._file.translate_errors():
            self._done_count = 0
            if self._connection is None:
                return
            others = dict.fromkeys(self._held.keys() - {delivery.token}, Outcome.REQUEUE)
            self._write(self._connection, others)
            self._untaken = deque(each for each in self._untaken if each.token in self._held)

    def wake(self) -> None:
        with self._condition:
            self._woken = True
            self._condition.notify_all()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._untaken.clear()
            connection, self._connection = self._connection, None
            if connection is not None:
                try:
                    with self._file.translate_errors(), self._file.writing(connection):
                        messages.acknowledge(connection, self._unacknowledged, holder=self._id)
                        messages.requeue(connection, self._held.values(), holder=self._id)
                        messages.unregister(connection, self._id)
                finally:
                    self._disconnect(connection)
        self.wake()
        self._on_close(self)

    def _register(self) -> sqlite3.Connection:
        connection = self._file.open()
        try:
            self._process_lock.acquire(blocking=False)
            with self._file.writing(connection):
                messages.register(connection, self._id, queue=self._queue)
        except BaseException:
            self._disconnect(connection)
            raise
        self._connection = connection
        return connection

    def _disconnect(self, connection: sqlite3.Connection) -> None:
        connection.close()
        self._process_lock.release()
        self._file.remove_lock_of(self._id)

    def _next(self, connection: sqlite3.Connection, limit: int) -> list[Delivery]:
        self._next_ready_at = float("inf")
        if not self._untaken and self._room() > 0:
            if messages.is_any_ready(connection, self._queue, now=self._clock()):
                self._write(connection, {})
            else:
                self._next_ready_at = messages.next_ready_at(connection, self._queue)
        return budget.take_from(self._untaken, limit)

    def _room(self) -> int:
        max_held = self._prefetch if self._done_count >= SLOW_START_AFTER else 1
        return max_held - len(self._held)

    def _write(self, connection: sqlite3.Connection, failed: Mapping[object, Outcome]) -> None:
        """Acknowledge what is done, settle what failed or is requeued, and claim new messages."""
        numbers: dict[Outcome, list[int]] = {outcome: [] for outcome in Outcome}
        for tag, outcome in failed.items():
            numbers[outcome].append(self._held[tag])
        now, me = self._clock(), self._id
        # After a requeue nothing is claimed: it would be the same messages.
        limit = 0 if numbers[Outcome.REQUEUE] else max(0, self._room() + len(failed))
        with self._file.writing(connection):
            messages.acknowledge(connection, self._unacknowledged, holder=me)
            messages.requeue(connection, numbers[Outcome.REQUEUE], holder=me)
            messages.fail(connection, numbers[Outcome.RETRY], holder=me, now=now)
            dead = numbers[Outcome.DEAD]
            messages.fail(connection, dead, holder=me, now=now, reason=messages.REJECTED)
            claimed = messages.claim(
                connection,
                self._queue,
                limit=limit,
                max_bytes=budget.MAX_WAITING_BYTES - sum(len(each.body) for each in self._untaken),
                holder=me,
                now=now,
            )
        self._unacknowledged.clear()
        for tag in failed:
            del self._held[tag]
        self._untaken.extend(map(self._delivery, claimed))

    def _delivery(self, message: messages.ReadyMessage) -> Delivery:
        tag = next(self._tags)
        self._held[tag] = message.number
        return Delivery(
            queue=self._queue,
            body=message.body,
            event_id=message.event_id,
            type=message.type,
            attempt=message.attempts + (message.reason is None),  # a dead letter is not attempted
            replays=message.replays,
            token=tag,
            topic=message.topic,
            is_replay=bool(message.is_replay),
            reason=message.reason or "",
        )

    def _fail_messages_of_dead_consumers(self, connection: sqlite3.Connection) -> None:
        if time.monotonic() < self._check_consumers_at:
            return
        self._check_consumers_at = time.monotonic() + _CHECK_CONSUMERS_EVERY
        for other in messages.consumers_of(connection, self._queue):
            if other == self._id:
                continue
            try:
                lock = self._file.lock_of(other).acquire(blocking=False)
            except Timeout:
                continue  # it is alive, or another consumer does this now
            with lock, self._file.writing(connection):
                held = messages.held_by(connection, other)
                messages.fail(connection, held, holder=other, now=self._clock())
                messages.unregister(connection, other)
            self._file.remove_lock_of(other)

    def _wait(self, version: int, deadline: float) -> bool:
        """Wait for a change; False if the time is up or `wake` was called."""
        while True:
            with self._condition:
                if self._woken:
                    self._woken = False
                    return False
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return False
                # Checked with the condition's lock held, so that no notification is missed.
                if self._has_changed(version):
                    return True
                self._condition.wait(min(remaining, _POLL_INTERVAL))

    def _has_changed(self, version: int) -> bool:
        with self._lock, self._file.translate_errors():
            return (
                self._connection is None
                or _data_version(self._connection) != version
                or self._clock() >= self._next_ready_at
                or time.monotonic() >= self._check_consumers_at
            )


def _data_version(connection: sqlite3.Connection) -> int:
    """A number that changes when another connection commits."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
