"""Where the conformance suite runs: one kind of broker each, and how it differs on purpose."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, Popen
from uuid import uuid4

from shared.messaging.connect import broker_at
from shared.messaging.embedded import EmbeddedBroker
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import SLOW_START_AFTER, Consumer, Delivery, Outcome
from shared.messaging.ports.publisher import Message, Publisher
from shared.messaging.topology import Queue, Retry, Topology

PATIENCE = 15.0
"""Seconds until what should come is given up."""

TOPICS = {
    "inventory": frozenset({"order.placed", "order.cancelled"}),
    "email": frozenset({"order.*"}),
    "analytics": frozenset({"#"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """Where the brokers differ on purpose.

    Attributes:
        step: seconds that the first failure waits; a real clock needs a short one.
        longest: seconds that a wait has at most.
        inexact: seconds that a wait may be longer than asked for.
        silence: seconds after which nothing more is coming.
    """

    step: float
    longest: float
    inexact: float
    silence: float


EMBEDDED = Traits(step=10.0, longest=25.0, inexact=1.0, silence=0.05)
RABBITMQ = Traits(step=0.4, longest=1.0, inexact=0.35, silence=0.5)


@dataclass
class TurnedClock:
    """The time of day, and what a test has added to it."""

    added: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.added


@dataclass(frozen=True, kw_only=True)
class Place:
    """A broker's home, empty at first; every broker object connected here sees the same.

    Attributes:
        clock: the one to turn, or None where time has to pass.
    """

    url: str
    traits: Traits
    admin_url: str | None = None
    clock: TurnedClock | None = None
    opened: ExitStack = field(default_factory=ExitStack)

    def connect(self) -> Broker:
        """A new broker object; closed with the place."""
        broker: Broker
        if self.clock is None:
            broker = broker_at(self.url, admin_url=self.admin_url)
        else:
            broker = EmbeddedBroker(Path(self.url.removeprefix("embedded:")), clock=self.clock)
        self.opened.callback(broker.close)
        return broker

    def topology(self, *, limit: int = 2) -> Topology:
        """Three services, each with other topics."""
        retry = Retry(delay=self.traits.step, max_delay=self.traits.longest, max_retries=limit)
        return Topology(
            queues=tuple(
                Queue(name=name, topics=topics, retry=retry) for name, topics in TOPICS.items()
            )
        )

    def broker(self, *, limit: int = 2) -> Broker:
        """A new broker object, after set-up."""
        broker = self.connect()
        assert broker.set_up(self.topology(limit=limit)) == []
        return broker

    def wait_out(self, consumer: Consumer) -> tuple[Delivery, float]:
        """The next delivery, and how many seconds the broker kept it back."""
        if self.clock is None:
            since = time.monotonic()
            return receive(consumer)[0], time.monotonic() - since
        before = self.clock.added
        while not (taken := consumer.take(1, wait=0)):
            self.clock.added += self.traits.inexact / 2
            assert self.clock.added - before < 10 * self.traits.longest, "it never came back"
        return taken[0], self.clock.added - before

    @contextmanager
    def process_holding(self, count: int, *, queue: str) -> Iterator["Popen[str]"]:
        """Another process that has taken so many messages and sits on them.

        If they are more than one, it proves itself first by handling `SLOW_START_AFTER` others.
        """
        proof = str(SLOW_START_AFTER if count > 1 else 0)
        command = [sys.executable, "-c", _SIT_ON, self.url, queue, proof, str(count)]
        with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "holding\n"
            try:
                yield process
            finally:
                process.kill()


_SIT_ON = """
import sys
from shared.messaging.connect import broker_at
from shared.messaging.ports.consumer import Outcome
url, queue, proof, count = sys.argv[1:]
consumer = broker_at(url).consumer(queue, prefetch=int(count))
done = 0
while done < int(proof):
    taken = consumer.take(1, wait=1)
    consumer.settle([(each, Outcome.DONE) for each in taken])
    done += len(taken)
held = []
while len(held) < int(count):
    held += consumer.take(int(count), wait=1)
print("holding", flush=True)
sys.stdin.read()
"""


def order_placed(topic: str = "order.placed", **differing: object) -> Message:
    """A message like those that services publish; its body is unlike any other's."""
    event_id = str(uuid4())
    message = Message(
        event_id=event_id,
        topic=topic,
        type=f"{topic}.v1",
        body=f'{{"id": "{event_id}"}}'.encode(),
        source="orders",
    )
    return replaced(message, **differing)


def replaced(message: Message, **differing: object) -> Message:
    """The same message but for some of its fields."""
    fields = {name: getattr(message, name) for name in Message.__slots__}
    return Message(**fields | differing)


def send(broker: Broker, *messages: Message) -> None:
    """Publish, and see that all are safe."""
    publisher: Publisher = broker.publisher()
    assert publisher.publish(messages) == [None] * len(messages)
    publisher.close()


def receive(consumer: Consumer, count: int = 1) -> list[Delivery]:
    """So many deliveries, unsettled."""
    taken: list[Delivery] = []
    deadline = time.monotonic() + PATIENCE
    while len(taken) < count:
        assert time.monotonic() < deadline, f"{len(taken)} of {count} came"
        taken += consumer.take(count - len(taken), wait=0.5)
    return taken


def settle_all(consumer: Consumer, deliveries: list[Delivery], outcome: Outcome) -> None:
    """Give all the same outcome."""
    consumer.settle([(each, outcome) for each in deliveries])


def proven_consumer(broker: Broker, queue: str, *, prefetch: int) -> Consumer:
    """A consumer that may hold its whole prefetch."""
    return proven_consumers(1, broker, queue, prefetch=prefetch)[0]


def proven_consumers(count: int, broker: Broker, queue: str, *, prefetch: int) -> list[Consumer]:
    """Competing consumers of one queue that may hold their whole prefetch."""
    done = {broker.consumer(queue, prefetch=prefetch): 0 for _ in range(count)}
    sent = 0
    deadline = time.monotonic() + PATIENCE
    while min(done.values()) < SLOW_START_AFTER or sum(done.values()) < sent:
        assert time.monotonic() < deadline, f"of {sent} they did {list(done.values())}"
        if sum(done.values()) == sent:
            send(broker, *[order_placed(only_to=queue) for _ in range(count)])
            sent += count
        for each in sorted(done, key=lambda consumer: done[consumer]):
            taken = each.take(1, wait=0.1)
            settle_all(each, taken, Outcome.DONE)
            done[each] += len(taken)
    return list(done)
