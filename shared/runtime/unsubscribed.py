"""What waits in a service's queue although the service no longer subscribes to it.

A release that drops a subscription must not let such messages die one by one. Set-up keeps the
subscription's binding, and no process of the release starts, until processes of the release before
have handled them, or a person consents to drop them. The history keeps the events in any case.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace

from shared.errors import UnsubscribedBacklog
from shared.events import topic_of
from shared.messaging.identity import Identity
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import Delivery, Outcome
from shared.messaging.topology import Queue, Topology, topics_matched

_MOST = 60_000
"""Messages that are looked at; AMQP's prefetch has 16 bits, and each is held until the end."""

_BATCH = 50
_TAKE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """Messages of one type in a queue whose service no longer subscribes to it.

    Attributes:
        topic: of the events.
        messages: how many; 0 if none was found among the first of a queue too long to be read.
        is_dropped: whether they were removed from the queue.
    """

    service: str
    topic: str
    messages: int
    is_dropped: bool = False

    @property
    def record(self) -> dict[str, object]:
        """The fields for JSON output."""
        return {
            "service": self.service,
            "topic": self.topic,
            "messages": self.messages,
            "dropped": self.is_dropped,
        }

    def __str__(self) -> str:
        ended = f"{self.service} no longer subscribes to {self.topic}"
        number = f"{self.messages:,} of its messages" if self.messages else "more than can be read"
        if self.is_dropped:
            return f"{ended}: {number} dropped"
        return f"{ended}, but its queue holds {number}"


def find(broker: Broker, queue: Queue, ended: Collection[str]) -> list[Unsubscribed]:
    """What waits in a queue of topics whose subscription has ended; reading changes nothing.

    Messages that are delayed after a failed attempt, or that a consumer holds, are not seen.
    """
    depth = broker.depth(queue.name).ready
    found = Counter(topic for _, topic in _unwanted(broker, queue, depth))
    if depth > _MOST and not found:
        found = Counter(dict.fromkeys(ended, 0))
    return [Unsubscribed(queue.name, topic, number) for topic, number in sorted(found.items())]


def drop(broker: Broker, queue: Queue) -> list[Unsubscribed]:
    """Remove what `find` found; call it after the bindings were removed."""
    dropped: Counter[str] = Counter()
    while depth := broker.depth(queue.name).ready:
        some = Counter(topic for _, topic in _unwanted(broker, queue, depth, drops=True))
        dropped += some
        if depth <= _MOST or not some:
            break
    return [
        Unsubscribed(queue.name, topic, number, is_dropped=True)
        for topic, number in sorted(dropped.items())
    ]


def kept(topology: Topology, topics: Mapping[str, frozenset[str]]) -> Topology:
    """The topology with these subscriptions too, by queue."""
    return replace(
        topology,
        queues=tuple(
            replace(each, topics=each.topics | topics.get(each.name, frozenset()))
            for each in topology.queues
        ),
    )


def refusal(found: Collection[Unsubscribed]) -> UnsubscribedBacklog:
    """The error that says what waits and what to do."""
    return UnsubscribedBacklog(
        f"{'; '.join(map(str, found))}: let the version before handle them, or drop them, which "
        "the history keeps, with shop setup --drop-unsubscribed"
    )


def _unwanted(
    broker: Broker, queue: Queue, depth: int, *, drops: bool = False
) -> Iterator[tuple[Delivery, str]]:
    """The messages among the ready ones that the queue does not subscribe to, and their topics."""
    remaining = min(depth, _MOST)
    if not remaining:
        return
    with closing(broker.consumer(queue.name, prefetch=remaining, slow_start=False)) as consumer:
        while remaining > 0 and (
            taken := consumer.take(min(_BATCH, remaining), wait=_TAKE_SECONDS)
        ):
            remaining -= len(taken)
            unwanted = [(each, topic) for each in taken if (topic := _unwanted_topic(each, queue))]
            if drops:
                consumer.settle([(delivery, Outcome.DONE) for delivery, _ in unwanted])
            yield from unwanted


def _unwanted_topic(delivery: Delivery, queue: Queue) -> str | None:
    """The topic of an event that the queue does not subscribe to; else None."""
    envelope = Identity.of(delivery).envelope
    topic = topic_of(envelope.type) if envelope else None
    return topic if topic and not topics_matched(queue.topics, topic) else None
