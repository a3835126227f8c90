"""One service at work: a worker that reacts and a relay that sends, each a thread.

A third brings what happened before the service was there, where that is wanted, and ends.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tenacity import Retrying, retry_if_exception, wait_random_exponential

from shared.errors import (
    BrokerRefused,
    BrokerUnavailable,
    DeadlineExceeded,
    DependencyUnavailable,
    ShopError,
)
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import Consumer, Outcome
from shared.messaging.topology import Queue
from shared.runtime.catch_up import CatchUp
from shared.runtime.hands import Hands
from shared.runtime.logs import Log, log_reaction
from shared.runtime.metrics import Metrics
from shared.runtime.reactor import BatchResult, DeliveryResult, Reactor
from shared.runtime.relay import Relay
from shared.runtime.service import AnyService
from shared.runtime.settings import Settings
from shared.runtime.watchdog import Watchdog
from shared.storage import failures
from shared.storage.database import Database

TAKE_SECONDS = 1.0
PROBE_SECONDS = 5.0

Listener = Callable[[str, DeliveryResult], None]
"""Told of each reaction: the service's name, and what was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerParts:
    """What a running service is made of, given by the composition root.

    Attributes:
        batch_size: how many deliveries one transaction takes at most.
        concurrency: how many transactions there are at a time, of one delivery each.
        held: deliveries that it holds, handled or not; at least two batches.
    """

    service: AnyService
    settings: Settings
    queue: Queue
    batch_size: int
    concurrency: int = 1
    held: int = 0
    broker: Broker
    database: Database
    log: Log
    metrics: Metrics
    gateway: Any = None
    from_history: bool = False
    listeners: list[Listener] = field(default_factory=list)


class ServiceRunner:
    """A service at work, until `stop`.

    Attributes:
        failed: why one of its threads ended by itself; None as a rule.
    """

    def __init__(self, parts: RunnerParts) -> None:
        settings, service = parts.settings, parts.service
        self.name = service.name
        self.failed: BaseException | None = None
        self.database = parts.database
        self._parts = parts
        self._log = parts.log.bind(service=self.name)
        self._stopping = threading.Event()
        self._consumer: Consumer | None = None
        self._relay = Relay(
            parts.database,
            parts.broker.publisher(),
            source=self.name,
            log=self._log,
            outbox_keep=timedelta(days=settings.outbox_keep),
            failures_keep=timedelta(days=settings.failures_keep),
            inbox_keep=settings.inbox_horizon(),
            on_sent=self._sent,
        )
        self._reactor = Reactor(
            service=service,
            database=parts.database,
            retry=parts.queue.retry,
            gateway=parts.gateway,
            hands=Hands(parts.concurrency, name=self.name) if parts.concurrency > 1 else None,
            inbox_horizon=settings.inbox_horizon(),
        )
        self._catch_up = CatchUp(
            service,
            parts.queue,
            broker=parts.broker,
            database=parts.database,
            log=self._log,
            is_wanted=parts.from_history,
        )
        self._threads = [
            self._thread(what, run)
            for what, run in (("worker", self._work), ("relay", self._relay.run))
        ]
        self._passing = self._thread("catch-up", self._catch_up.run)
        parts.metrics.watch_outbox(self.name, parts.database)
        parts.metrics.watch_consumer(self.name, lambda: self.is_consuming)

    def _thread(self, what: str, run: Callable[[], None]) -> threading.Thread:
        name = f"{self.name} {what}"
        return threading.Thread(target=self._guard, args=(run,), name=name, daemon=True)

    @property
    def watch(self) -> Watchdog:
        """What its worker is at."""
        return self._reactor.watch

    @property
    def deadline(self) -> float:
        """Seconds that one of its handlers may take."""
        return self._parts.queue.deadline

    @property
    def is_consuming(self) -> bool:
        """Whether the broker has its consumer registered now."""
        consumer = self._consumer
        return consumer is not None and consumer.is_consuming

    def start(self) -> None:
        """Begin to react and to send."""
        for thread in (*self._threads, self._passing):
            thread.start()

    def stop(self) -> None:
        """Begin to stop: finish what has been begun, hand back the rest."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._relay.stop()
        self._catch_up.stop()
        consumer = self._consumer
        if consumer is not None:
            consumer.wake()

    def join(self, until: float) -> bool:
        """Wait for its threads until a monotonic time; answers whether they ended."""
        threads = (*self._threads, self._passing)
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def close(self) -> None:
        """Let go of what it held, once its threads have ended."""
        self._relay.close()
        self.database.close()
        if self._parts.gateway is not None:
            self._parts.gateway.close()

    def health(self) -> list[str]:
        """What is wrong with its threads, a sentence each."""
        return [f"{each.name} has ended" for each in self._threads if not each.is_alive()]

    def readiness(self) -> list[str]:
        """What keeps it from reacting, a sentence each."""
        problems = self.health()
        try:
            self.database.probe()
        except DependencyUnavailable as error:
            problems.append(f"{self.name}: {error}")
        if not self.is_consuming:
            problems.append(f"{self.name}: the broker does not have its consumer registered")
        return problems

    def abandon(self) -> None:
        """Give up a handler past its deadline: its message counts a failed attempt, no other does.

        The process must end after this: its worker cannot be.
        """
        consumer, step = self._consumer, self.watch.longest
        if consumer is None:
            return
        delivery = step.delivery if step else None
        if step is not None and delivery is not None and succeeds_within(self._reactor.probe):
            sentence = f"the handler took more than {self.deadline:g} s"
            failed = failures.ErrorDescription(DeadlineExceeded.__name__, sentence, step.stack)
            if not succeeds_within(lambda: self._reactor.record(delivery, failed)):
                # In a file the hung handler's own transaction is in the way.
                self._log.warning("not on record", reason=sentence, stack=step.stack)
            consumer.settle([(delivery, Outcome.RETRY)])
        consumer.close()

    def _guard(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - the supervisor says it, and ends the process
            self.failed = error

    def _work(self) -> None:
        self._patiently(BrokerUnavailable, self._bind)
        while not self._stopping.is_set():
            try:
                self._consume()
            except DependencyUnavailable as error:
                self._resume_after(error, DependencyUnavailable, self._reactor.probe)
            except BrokerRefused:
                raise
            except BrokerUnavailable as error:
                self._resume_after(error, BrokerUnavailable, self._bind)

    def _resume_after(
        self, error: ShopError, awaited: type[ShopError], probe: Callable[[], object]
    ) -> None:
        self._log.error("stopped consuming", reason=str(error))
        self._patiently(awaited, probe)
        self._log.info("consuming again")

    def _bind(self) -> None:
        self._parts.broker.bind(self._parts.queue)

    def _consume(self) -> None:
        """React until stopped.

        Raises:
            DependencyUnavailable: what the service stands on is away; all has been handed back.
            BrokerUnavailable: so is the queue, or the broker's file.
        """
        size = max(self._parts.batch_size, self._parts.concurrency)
        prefetch = max(2 * size, self._parts.held)
        consumer = self._parts.broker.consumer(self.name, prefetch=prefetch)
        self._consumer = consumer
        try:
            while not self._stopping.is_set():
                deliveries = consumer.take(size, wait=TAKE_SECONDS)
                possible_poison = self._reactor.possible_poison(deliveries)
                calm = [each for each in deliveries if each not in possible_poison]
                if calm:
                    self._settle(consumer, self._reactor.react(calm))
                if possible_poison:
                    consumer.isolate(possible_poison[0])  # the other possible_poison come again
                    self._settle(consumer, self._reactor.react_alone(possible_poison[0]))
        finally:
            self._consumer = None
            consumer.close()

    def _settle(self, consumer: Consumer, reaction: BatchResult) -> None:
        for each in reaction.reacted:
            self._tell(each)
        # Only now, so that who watches reads of a cause before its consequences.
        if any(each.published for each in reaction.reacted):
            self._relay.wakeup.notify()
        consumer.settle([each.settlement for each in reaction.reacted])
        self._parts.metrics.reaction(self.name, reaction)
        if reaction.environment is not None:
            raise reaction.environment

    def _tell(self, reacted: DeliveryResult) -> None:
        dies = (
            reacted.outcome is Outcome.RETRY
            and reacted.delivery.attempt > self._parts.queue.retry.max_retries
        )
        self._parts.metrics.reacted(self.name, reacted, dies=dies)
        log_reaction(self._log, reacted, dies=dies)
        for listener in self._parts.listeners:
            listener(self.name, reacted)

    def _sent(self, sent: int, refused: int) -> None:
        self._parts.metrics.published.labels(self.name).inc(sent)
        self._parts.metrics.refused.labels(self.name).inc(refused)

    def _patiently(self, awaited: type[ShopError], attempt: Callable[[], object]) -> None:
        """Try until it goes well or the process is to stop."""
        retrying = Retrying(
            retry=retry_if_exception(
                lambda error: isinstance(error, awaited) and not isinstance(error, BrokerRefused)
            ),
            wait=wait_random_exponential(multiplier=0.5, max=30),
            sleep=self._pause,
            stop=lambda _: self._stopping.is_set(),
            before_sleep=lambda state: self._log.warning(
                "waiting", reason=str(state.outcome and state.outcome.exception())
            ),
            retry_error_callback=lambda _: None,
        )
        retrying(attempt)

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)


def succeeds_within(what: Callable[[], object]) -> bool:
    """Whether it ends soon and without a failure of the environment."""
    went_well = threading.Event()

    def do() -> None:
        try:
            what()
        except DependencyUnavailable:
            return
        went_well.set()

    threading.Thread(target=do, daemon=True).start()
    return went_well.wait(PROBE_SECONDS)
