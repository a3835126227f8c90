"""Runs a service: a worker thread reacts, a relay sends, a pruner deletes, one catches up."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from shared.errors import BrokerRefused, BrokerUnavailable, DependencyUnavailable, ShopError
from shared.messaging.authenticity import BrokerUsers
from shared.messaging.identity import Identity
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import Consumer, Delivery
from shared.runtime import deadline
from shared.runtime.catch_up import CatchUp
from shared.runtime.logs import Log, log_delivery
from shared.runtime.metrics import Metrics
from shared.runtime.pauses import PauseRecord
from shared.runtime.poison import possible_poison
from shared.runtime.pruner import Pruner, rules
from shared.runtime.reactor import BatchResult, DeliveryResult, Reactor
from shared.runtime.relay import Relay
from shared.runtime.retrying import MAX_DELAY, delay_after, retry_until_stopped
from shared.runtime.service import AnyService
from shared.runtime.service_settings import queue_of, service_settings_of
from shared.runtime.settings import OPERATOR, Settings
from shared.runtime.watchdog import Overrun
from shared.storage.database import Database

TAKE_SECONDS = 1.0

Listener = Callable[[str, DeliveryResult], None]
"""Called with the service's name and the result of each delivery, before it is settled."""


@dataclass(eq=False, kw_only=True)
class ServiceRunner:
    """Runs a service from `start` to `stop`.

    Attributes:
        concurrency: transactions at the same time; if more than 1, each has one delivery.
        gateway: the service's gateway; None if it has none.
        from_history: whether to begin a catch-up.
        watchdog: what the threads that run handlers are doing.
        deadline: seconds that a handler may take.
        failed: the error by which one of its threads ended; None if none did.
    """

    service: AnyService
    settings: Settings
    broker: Broker
    database: Database
    log: Log
    metrics: Metrics
    concurrency: int = 1
    gateway: Any = None
    from_history: bool = False
    listeners: Sequence[Listener] = ()
    failed: BaseException | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.name = self.service.name
        self.queue = queue_of(self.service)
        self.log = self.log.bind(service=self.name)
        self._bind = partial(self.broker.bind, self.queue)
        self._stopping = threading.Event()
        self._consumer: Consumer | None = None
        self._pauses = 0  # since something was last handled
        self._record = PauseRecord(self.database, self.log)
        self._waiting: Delivery | None = None
        self._executor: ThreadPoolExecutor | None = None
        if self.concurrency > 1:
            self._executor = ThreadPoolExecutor(self.concurrency, f"{self.name} handlers")
        self._reactor = Reactor(
            service=self.service,
            database=self.database,
            retry=self.queue.retry,
            gateway=self.gateway,
            executor=self._executor,
            users=self._users(),
            inbox_horizon=self.settings.inbox_horizon(),
        )
        self.watchdog = self._reactor.watchdog
        self.deadline = self.queue.deadline
        self._relay = Relay(
            self.database,
            self.broker.publisher(),
            source=self.name,
            log=self.log,
            on_sent=partial(self.metrics.count_sent, self.name),
        )
        self._catch_up = CatchUp(
            self.service,
            self.queue,
            broker=self.broker,
            database=self.database,
            log=self.log,
            is_wanted=self.from_history,
        )
        self._pruner = Pruner(self.database, rules(self.settings), self.log)
        lasting = {"worker": self._work, "relay": self._relay.run, "pruner": self._pruner.run}
        self._lasting_threads = [self._thread(task, run) for task, run in lasting.items()]
        self._threads = [*self._lasting_threads, self._thread("catch-up", self._catch_up.run)]
        self.metrics.watch_outbox(self.name, self.database)
        self.metrics.watch_consumer(self.name, lambda: self.is_consuming)
        self.metrics.watch_waiting(self.name, lambda: self.waiting_age)

    @property
    def is_consuming(self) -> bool:
        """Whether the broker has its consumer registered now."""
        return (consumer := self._consumer) is not None and consumer.is_consuming

    @property
    def waiting_age(self) -> float:
        """Seconds since the oldest event occurred that is delivered and not handled; 0 for none.

        While the service waits for a dependency, that is the first event that it could not handle.
        Replayed events are old in any case and do not count.
        """
        waiting = self._waiting
        envelope = Identity.of(waiting).envelope if waiting is not None else None
        if envelope is None:
            return 0.0
        return max(0.0, (datetime.now(UTC) - envelope.time).total_seconds())

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask the threads to end: started work is finished, other deliveries are requeued."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._relay.stop()
        self._pruner.stop()
        self._catch_up.stop()
        if (consumer := self._consumer) is not None:
            consumer.wake()

    def join(self, until: float) -> bool:
        """Wait for the threads until a time of the monotonic clock; return whether all ended."""
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        """Close the connections, after the threads have ended."""
        if self._executor is not None:
            self._executor.shutdown()
        self._relay.close()
        self.database.close()
        if self.gateway is not None:
            self.gateway.close()

    def health(self) -> list[str]:
        """A sentence for each thread that has ended."""
        return [f"{each.name} has ended" for each in self._lasting_threads if not each.is_alive()]

    def readiness(self) -> list[str]:
        """A sentence for each problem that keeps the service from reacting."""
        problems = self.health()
        try:
            self.database.ping()  # `probe` would write at each scrape
        except DependencyUnavailable as error:
            problems.append(f"{self.name}: {error}")
        if not self.is_consuming:
            problems.append(f"{self.name}: the broker does not have its consumer registered")
        return problems

    def abandon(self, overrun: Overrun) -> None:
        """Settle the deliveries after a handler hung; see `deadline.abandon`."""
        if (consumer := self._consumer) is not None:
            deadline.abandon(
                overrun, consumer, reactor=self._reactor, deadline=self.deadline, log=self.log
            )

    def _users(self) -> BrokerUsers | None:
        """None if the service has no broker user of its own name."""
        if self.broker.user != self.name:
            return None
        replaying = frozenset({self.name, OPERATOR})
        return BrokerUsers(replaying=replaying, is_required=self.settings.require_broker_user)

    def _thread(self, task: str, run: Callable[[], None]) -> threading.Thread:
        def run_and_keep_error() -> None:
            try:
                run()
            except BaseException as error:  # noqa: BLE001 - the supervisor logs it and ends the process
                self.failed = error

        return threading.Thread(target=run_and_keep_error, name=f"{self.name} {task}", daemon=True)

    def _work(self) -> None:
        if self._record.begin(getattr(self.gateway, "place", None)):
            # Begun by an earlier process: consuming would only find the same dependency away.
            probe = self._record.noting(self._reactor.probe)
            self._retry(probe, on=DependencyUnavailable)
        self._retry(self._bind, on=BrokerUnavailable)
        while not self._stopping.is_set():
            try:
                self._consume()
            except DependencyUnavailable as error:
                self._pause(error, until=self._reactor.probe, on=DependencyUnavailable)
            except BrokerRefused:
                raise
            except BrokerUnavailable as error:
                self._pause(error, until=self._bind, on=BrokerUnavailable)

    def _pause(self, error: ShopError, *, until: Callable[[], object], on: type[ShopError]) -> None:
        """Wait until a check succeeds, and longer each time if nothing was handled since the last.

        A check can succeed where a transaction fails: a disk may have space for a small one.
        """
        self.log.error("consuming paused", reason=str(error))
        self._record.note(error)
        self._stopping.wait(delay_after(self._pauses))
        self._pauses += 1
        self._retry(self._record.noting(until), on=on)
        self.log.info("consuming resumed")

    def _retry(self, attempt: Callable[[], object], *, on: type[ShopError]) -> None:
        retry_until_stopped(
            attempt, on=(on,), never_on=(BrokerRefused,), stopping=self._stopping, log=self.log
        )

    def _consume(self) -> None:
        """React until stopped.

        Raises:
            DependencyUnavailable: a dependency is away; what was not handled has been requeued.
            BrokerUnavailable: the queue does not exist, or the broker's file cannot be used.
        """
        numbers = service_settings_of(self.service)
        batch_size = self.concurrency if self.service.gateway else numbers.batch_size
        # RabbitMQ requeues messages that are held for too long; the embedded broker does not.
        held = numbers.concurrency if self.settings.is_embedded else 0
        consumer = self.broker.consumer(self.name, prefetch=2 * max(batch_size, held))
        self._consumer = consumer
        began = time.monotonic()
        try:
            while not self._stopping.is_set():
                deliveries = consumer.take(batch_size, wait=TAKE_SECONDS)
                self._waiting = next((each for each in deliveries if not each.is_replay), None)
                poison = possible_poison(self.database, deliveries)
                others = [each for each in deliveries if each not in poison]
                if others:
                    self._settle(consumer, self._reactor.react(others))
                if poison:
                    consumer.isolate(poison[0])  # the others in `poison` are delivered again
                    self._settle(consumer, self._reactor.react_alone(poison[0]))
                self._waiting = None
                if deliveries or time.monotonic() - began > MAX_DELAY:
                    self._pauses = 0
                    self._record.end()
        finally:
            self._consumer = None
            consumer.close()

    def _settle(self, consumer: Consumer, batch: BatchResult) -> None:
        """Log, count and settle each delivery of a batch, and wake the relay.

        Raises:
            DependencyUnavailable: a dependency was away.
        """
        for result in batch.results:
            log_delivery(self.log, result)
            self.metrics.count_delivery(self.name, result)
            for listener in self.listeners:
                listener(self.name, result)
        # After the listeners, so that they see an event before the events that it causes.
        if any(result.published for result in batch.results):
            self._relay.wakeup.notify()
        consumer.settle([result.settlement for result in batch.results])
        self.metrics.count_batch(self.name, batch)
        if batch.unavailable is not None:
            raise batch.unavailable
