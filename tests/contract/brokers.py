"""The brokers that the conformance suite runs on, how they differ on purpose, and helpers."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any
from uuid import uuid4

from shared.messaging.connect import broker_at
from shared.messaging.embedded import EmbeddedBroker
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import SLOW_START_AFTER, Consumer, Delivery, Outcome
from shared.messaging.ports.publisher import Message
from shared.messaging.topology import Queue, Retry, Topology

TIMEOUT = 30.0
"""Seconds until a test fails because something did not happen."""

TOPICS = {
    "inventory": frozenset({"order.placed", "order.cancelled"}),
    "email": frozenset({"order.*"}),
    "analytics": frozenset({"#"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerTiming:
    """How the brokers differ on purpose.

    Attributes:
        delay: seconds after the first failure; short where a test waits in real time.
        max_delay: upper limit of the delay, in seconds.
        tolerance: seconds by which a delay may be too long.
        quiet_time: seconds without a delivery after which a test assumes that none will come.
    """

    delay: float
    max_delay: float
    tolerance: float
    quiet_time: float


EMBEDDED = BrokerTiming(delay=10.0, max_delay=25.0, tolerance=1.0, quiet_time=0.05)
RABBITMQ = BrokerTiming(delay=0.4, max_delay=1.0, tolerance=0.35, quiet_time=0.5)


@dataclass
class AdjustableClock:
    """The system clock plus an offset in seconds that a test sets."""

    offset: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


@dataclass(frozen=True, kw_only=True)
class BrokerUnderTest:
    """An empty broker; all broker objects that it creates use the same file or virtual host.

    Attributes:
        user: the broker user of all connections; empty if the broker has no users.
        clock: the broker's clock; None if the test cannot set it and has to wait.
    """

    url: str
    timing: BrokerTiming
    admin_url: str | None = None
    user: str = ""
    clock: AdjustableClock | None = None
    opened: ExitStack = field(default_factory=ExitStack)

    def connect(self) -> Broker:
        """A new broker object, without set-up; closed at the end of the test."""
        broker: Broker
        if self.clock is None:
            broker = broker_at(self.url, admin_url=self.admin_url)
        else:
            broker = EmbeddedBroker(Path(self.url.removeprefix("embedded:")), clock=self.clock)
        self.opened.callback(broker.close)
        return broker

    def topology(self, *, max_retries: int = 2) -> Topology:
        """Three services with different topics."""
        delay, max_delay = self.timing.delay, self.timing.max_delay
        retry = Retry(delay=delay, max_delay=max_delay, max_retries=max_retries)
        return Topology(
            queues=tuple(
                Queue(name=name, topics=topics, retry=retry) for name, topics in TOPICS.items()
            )
        )

    def set_up(self, *, max_retries: int = 2) -> Broker:
        """A new broker object, after set-up."""
        broker = self.connect()
        assert broker.set_up(self.topology(max_retries=max_retries)) == []
        return broker

    def wait_for_retry(self, consumer: Consumer) -> tuple[Delivery, float]:
        """The next delivery, and its delay in seconds."""
        if self.clock is None:
            began = time.monotonic()
            return receive(consumer)[0], time.monotonic() - began
        began = self.clock.offset
        while not (taken := consumer.take(1, wait=0)):
            self.clock.offset += self.timing.tolerance / 2
            assert self.clock.offset - began < 10 * self.timing.max_delay, "no delivery"
        return taken[0], self.clock.offset - began

    @contextmanager
    def process_holding(self, count: int, *, queue: str) -> Iterator["Popen[str]"]:
        """Another process that takes messages and does not settle them.

        To hold more than one, it first handles `SLOW_START_AFTER` others.
        """
        first_done = str(SLOW_START_AFTER if count > 1 else 0)
        command = [sys.executable, "-c", _HOLD, self.url, queue, first_done, str(count)]
        with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "holding\n"
            try:
                yield process
            finally:
                process.kill()


_HOLD = """
import sys
from shared.messaging.connect import broker_at
from shared.messaging.ports.consumer import Outcome
url, queue, first_done, count = sys.argv[1:]
consumer = broker_at(url).consumer(queue, prefetch=int(count))
done = 0
while done < int(first_done):
    taken = consumer.take(1, wait=1)
    consumer.settle([(each, Outcome.DONE) for each in taken])
    done += len(taken)
held = []
while len(held) < int(count):
    held += consumer.take(int(count), wait=1)
print("holding", flush=True)
sys.stdin.read()
"""


def order_placed(topic: str = "order.placed", **changes: Any) -> Message:
    """A message as services publish it, with a unique id and body."""
    event_id = str(uuid4())
    message = Message(
        event_id=event_id,
        topic=topic,
        type=f"{topic}.v1",
        body=f'{{"id": "{event_id}"}}'.encode(),
        source="orders",
    )
    return replace(message, **changes)


def send(broker: Broker, *messages: Message) -> None:
    """Publish messages; all must be accepted."""
    publisher = broker.publisher()
    assert publisher.publish(messages) == [None] * len(messages)
    publisher.close()


def receive(consumer: Consumer, count: int = 1) -> list[Delivery]:
    """Take exactly `count` deliveries, without settling them."""
    taken: list[Delivery] = []
    deadline = time.monotonic() + TIMEOUT
    while len(taken) < count:
        assert time.monotonic() < deadline, f"received {len(taken)} of {count}"
        taken += consumer.take(count - len(taken), wait=0.5)
    return taken


def settle_all(consumer: Consumer, deliveries: list[Delivery], outcome: Outcome) -> None:
    """Settle deliveries with the same outcome."""
    consumer.settle([(each, outcome) for each in deliveries])


def consumer_after_slow_start(broker: Broker, queue: str, *, prefetch: int) -> Consumer:
    """A consumer that may hold its whole prefetch."""
    return consumers_after_slow_start(1, broker, queue, prefetch=prefetch)[0]


def consumers_after_slow_start(
    count: int, broker: Broker, queue: str, *, prefetch: int
) -> list[Consumer]:
    """Competing consumers of a queue, each of which may hold its whole prefetch."""
    done = {broker.consumer(queue, prefetch=prefetch): 0 for _ in range(count)}
    sent = 0
    deadline = time.monotonic() + TIMEOUT
    while min(done.values()) < SLOW_START_AFTER or sum(done.values()) < sent:
        assert time.monotonic() < deadline, f"of {sent}, they handled {list(done.values())}"
        if sum(done.values()) == sent:
            send(broker, *[order_placed(only_to=queue) for _ in range(count)])
            sent += count
        for consumer in sorted(done, key=lambda consumer: done[consumer]):
            taken = consumer.take(1, wait=0.1)
            settle_all(consumer, taken, Outcome.DONE)
            done[consumer] += len(taken)
    return list(done)
