"""Taking messages out of the embedded broker, and settling them.

Guarantees: a message is held by one consumer at a time, for as long as that consumer's process
lives and no longer: it is the operating system's lock on a file that says so, not a lease. What a
dead one held comes back as a failed attempt, as RabbitMQ does it.
"""

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from threading import RLock
from uuid import uuid4

from filelock import Timeout

from shared.messaging.embedded import messages
from shared.messaging.embedded.file import BrokerFile
from shared.messaging.embedded.wakeup import Wakeup
from shared.messaging.ports.consumer import SLOW_START_AFTER, Delivery, Outcome, Settlement
from shared.messaging.topology import dead_queue

_LOOK_EVERY = 0.05
"""Seconds after which another process's change, or a turned clock, is noticed."""

_SEEK_THE_DEAD_EVERY = 1.0
"""Seconds between two looks whether the other consumers of the queue still live."""


class EmbeddedConsumer:
    """A way out of one queue, on a connection of its own.

    Args:
        prefetch: how many it holds unsettled, at most.
        slow_start: one, until it has proven itself.
        clock: seconds since the epoch.
        wakeup: rung by whoever in this process has changed something.
    """

    def __init__(  # noqa: PLR0913 - what the broker knows, handed on
        self,
        file: BrokerFile,
        queue: str,
        *,
        prefetch: int,
        slow_start: bool,
        clock: Callable[[], float],
        wakeup: Wakeup,
    ) -> None:
        self._file = file
        self._queue = queue
        self._prefetch = prefetch
        self._clock = clock
        self._wakeup = wakeup
        self._waiting = wakeup.of(queue)
        self._id = uuid4().hex
        self._alive = file.lock_of(self._id)
        self._tags = count(1)
        self._held: dict[object, int] = {}  # the tag of a delivery, and its message's number
        self._ahead: deque[Delivery] = deque()  # held, and not taken yet
        self._handled: list[int] = []  # the numbers of messages to be forgotten
        self._done = 0 if slow_start else SLOW_START_AFTER
        self._guard = RLock()  # `close` may come from another thread
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._woken = False
        self._next_ready = float("inf")
        self._seek_the_dead_at = 0.0

    @property
    def is_consuming(self) -> bool:
        """Whether it has the file open and is known there."""
        return self._connection is not None

    def take(self, most: int, *, wait: float) -> list[Delivery]:
        """What is ready, at most so many; waits for the first."""
        deadline = time.monotonic() + wait
        while True:
            with self._guard, self._file.translate_errors():
                if self._closed:
                    return []
                connection = self._connection or self._register()
                seen = _data_version(connection)  # before looking, so that no change is missed
                self._return_what_the_dead_held(connection)
                taken = self._next(connection, most)
            if taken or not self._wait(seen, deadline):
                return taken

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Write all outcomes and claim what comes next, in one transaction.

        What is done, and no more, is written with the next ones as long as more is held ahead:
        forgetting late costs nothing but a copy, should the process end, and the inbox knows it.
        """
        with self._guard, self._file.translate_errors():
            if self._connection is None:
                return  # closing has handed them back
            failed: dict[object, Outcome] = {}
            for delivery, outcome in settlements:
                if outcome is not Outcome.DONE and delivery.token in self._held:
                    failed[delivery.token] = outcome
                elif delivery.token in self._held:
                    self._handled.append(self._held.pop(delivery.token))
                    self._done += 1
            if failed or not self._ahead:
                self._write(self._connection, failed)
        if failed:
            self._wakeup.notify({self._queue, dead_queue(self._queue)})

    def isolate(self, delivery: Delivery) -> None:
        """Hold this one alone."""
        with self._guard, self._file.translate_errors():
            self._done = 0
            if self._connection is None:
                return
            others = dict.fromkeys(self._held.keys() - {delivery.token}, Outcome.REQUEUE)
            self._write(self._connection, others)
            self._ahead = deque(each for each in self._ahead if each.token in self._held)

    def wake(self) -> None:
        """Make a waiting `take` answer now."""
        with self._waiting:
            self._woken = True
            self._waiting.notify_all()

    def close(self) -> None:
        """Hand back what is held, and let go of the file."""
        with self._guard:
            self._closed = True
            self._ahead.clear()
            connection, self._connection = self._connection, None
            if connection is not None:
                try:
                    with self._file.translate_errors(), self._file.writing(connection):
                        messages.forget(connection, self._handled, holder=self._id)
                        messages.hand_back(connection, self._held.values(), holder=self._id)
                        messages.unregister(connection, self._id)
                finally:
                    self._let_go(connection)
        self.wake()

    def _register(self) -> sqlite3.Connection:
        connection = self._file.open()
        try:
            self._alive.acquire(blocking=False)
            with self._file.writing(connection):
                messages.register(connection, self._id, queue=self._queue)
        except BaseException:
            self._let_go(connection)
            raise
        self._connection = connection
        return connection

    def _let_go(self, connection: sqlite3.Connection) -> None:
        connection.close()
        self._alive.release()
        self._file.remove_lock_of(self._id)

    def _next(self, connection: sqlite3.Connection, most: int) -> list[Delivery]:
        self._next_ready = float("inf")
        if not self._ahead and self._room() > 0:
            if messages.is_any_ready(connection, self._queue, now=self._clock()):
                self._write(connection, {})
            else:
                self._next_ready = messages.next_ready(connection, self._queue)
        return [self._ahead.popleft() for _ in range(min(most, len(self._ahead)))]

    def _room(self) -> int:
        concurrency = self._prefetch if self._done >= SLOW_START_AFTER else 1
        return concurrency - len(self._held)

    def _write(self, connection: sqlite3.Connection, failed: Mapping[object, Outcome]) -> None:
        """Forget what is done, write what became of others, and claim as much as there is room."""
        numbers: dict[Outcome, list[int]] = {outcome: [] for outcome in Outcome}
        for tag, outcome in failed.items():
            numbers[outcome].append(self._held[tag])
        now, me = self._clock(), self._id
        # What is handed back would come straight back.
        most = 0 if numbers[Outcome.REQUEUE] else max(0, self._room() + len(failed))
        with self._file.writing(connection):
            messages.forget(connection, self._handled, holder=me)
            messages.hand_back(connection, numbers[Outcome.REQUEUE], holder=me)
            messages.fail(connection, numbers[Outcome.RETRY], holder=me, now=now)
            dead = numbers[Outcome.DEAD]
            messages.fail(connection, dead, holder=me, now=now, reason=messages.REJECTED)
            ready = messages.claim(connection, self._queue, most=most, holder=me, now=now)
        self._handled.clear()
        for tag in failed:
            del self._held[tag]
        self._ahead.extend(map(self._delivery, ready))

    def _delivery(self, ready: messages.Ready) -> Delivery:
        tag = next(self._tags)
        self._held[tag] = ready.number
        return Delivery(
            queue=self._queue,
            body=ready.body,
            event_id=ready.event_id,
            type=ready.type,
            attempt=ready.attempts + (ready.reason is None),  # a dead letter's are over
            replays=ready.replays,
            token=tag,
            reason=ready.reason or "",
        )

    def _return_what_the_dead_held(self, connection: sqlite3.Connection) -> None:
        if time.monotonic() < self._seek_the_dead_at:
            return
        self._seek_the_dead_at = time.monotonic() + _SEEK_THE_DEAD_EVERY
        for other in messages.others(connection, self._id, queue=self._queue):
            try:
                its_lock = self._file.lock_of(other).acquire(blocking=False)
            except Timeout:
                continue  # it lives, or another consumer is returning what it held
            with its_lock, self._file.writing(connection):
                held = messages.held_by(connection, other)
                messages.fail(connection, held, holder=other, now=self._clock())
                messages.unregister(connection, other)
            self._file.remove_lock_of(other)

    def _wait(self, seen: int, deadline: float) -> bool:
        """Whether there is reason to look again; if not, time is up or somebody called."""
        while True:
            with self._waiting:
                if self._woken:
                    self._woken = False
                    return False
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                # Asked under the wakeup's lock, or it could be rung between looking and waiting.
                if self._has_changed(seen):
                    return True
                self._waiting.wait(min(left, _LOOK_EVERY))

    def _has_changed(self, seen: int) -> bool:
        with self._guard, self._file.translate_errors():
            return (
                self._connection is None
                or _data_version(self._connection) != seen
                or self._clock() >= self._next_ready
                or time.monotonic() >= self._seek_the_dead_at
            )


def _data_version(connection: sqlite3.Connection) -> int:
    """A number that changes when another connection commits."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
