"""The broker as the rest of the system sees it: a port that both adapters fill.

Guarantees that every adapter keeps, held by tests/contract: a published message is durable in
every queue bound to its topic once `publish` has answered; a delivery stays the broker's until it
is settled; a failed one comes back after the queue's delay and, past its limit, goes to the dead
queue; what is handed back counts as no attempt.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from shared.messaging.topology import Queue, Topology

PROVEN_AFTER = 5
"""Messages done until a new consumer holds more than one at a time. What a process held when it
died counts as failed, so a message that kills its process must not take neighbours with it."""


class Outcome(Enum):
    """What becomes of a delivery."""

    DONE = "done"
    """It has been handled, or had been before: the broker forgets it."""
    RETRY = "retry"
    """An attempt failed: counted, and delivered again after the queue's delay."""
    DEAD = "dead"
    """It will never go well: to the dead queue at once."""
    HAND_BACK = "hand back"
    """Not attempted: neither counted nor delayed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is published.

    Attributes:
        event_id: the same for every copy.
        topic: routing key, such as `order.placed`.
        type: with its version, such as `order.placed.v1`.
        body: a CloudEvent in structured JSON.
        source: the service it comes from.
        only_to: one queue's name, to reach that service alone; None for all who subscribed.
        replays: how often a person has sent it again.
        low_priority: delivered after whatever else waits in the queue.
    """

    event_id: str
    topic: str
    type: str
    body: bytes
    source: str
    correlation_id: str = ""
    occurred_at: datetime | None = None
    only_to: str | None = None
    replays: int = 0
    low_priority: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What is delivered. All of it but `token` is what the sender said, and is not trusted.

    Attributes:
        event_id: as the message's property said; empty if it said nothing.
        type: likewise.
        attempt: 1 for the first; each failed attempt adds one.
        replays: how often a person has sent it again.
        token: the adapter's own, to settle it by.
        reason: why it is dead, in the broker's word; empty for what is not.
    """

    queue: str
    body: bytes
    event_id: str
    type: str
    attempt: int
    replays: int
    token: object
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Depth:
    """What a queue holds now.

    Attributes:
        ready: messages that could be delivered; neither delayed nor delivered and unsettled.
        consumers: how many are registered.
    """

    ready: int
    consumers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A message in the record of all that was published. Untrusted, like a delivery.

    Attributes:
        offset: its place; 0 is the first there ever was. Places grow, with gaps.
    """

    offset: int
    topic: str
    event_id: str
    type: str
    body: bytes


Verdict = tuple[Delivery, Outcome]


class Publisher(Protocol):
    """A way in. `publish` is for any number of threads."""

    def publish(self, messages: Sequence[Message]) -> list[str | None]:
        """Send all, and wait until the broker has answered for each.

        Returns:
            For each message None once it is safe, or why the broker will never take it.

        Raises:
            BrokerUnavailable: the outcome of all of them is unknown; send them again.
        """

    def close(self) -> None:
        """Let go of the connection."""


class Consumer(Protocol):
    """A way out of one queue. `take` and `settle` for one thread; the rest from any."""

    def take(self, most: int, *, wait: float) -> list[Delivery]:
        """What has been delivered, at most so many; waits for the first, not for more.

        Args:
            wait: seconds until it answers with an empty list.

        Raises:
            BrokerRefused: its password, say; a lost connection comes back by itself.
            BrokerUnavailable: the queue is not there, or what it stands on cannot be used.
        """

    def settle(self, verdicts: Sequence[Verdict]) -> None:
        """Say what became of deliveries. One whose connection is gone comes again by itself."""

    def isolate(self, delivery: Delivery) -> None:
        """Hold this delivery alone: hand back all others, and be cautious again.

        For one that may end the process, since whatever else it held would count as failed.
        Answers when the broker has taken the others back.
        """

    @property
    def is_consuming(self) -> bool:
        """Whether the broker has this consumer registered now."""

    def wake(self) -> None:
        """Make a waiting `take` answer now."""

    def close(self) -> None:
        """Stop, and hand back what was taken or delivered and not settled."""


class HistoryReader(Protocol):
    """The record of all that was published, as far back as it is kept, in order of arrival.

    A message that was published twice may stand there twice. `close` is for any thread.
    """

    def first(self) -> Recorded | None:
        """The oldest that is kept; its offset is above 0 when older ones were dropped."""

    def end(self) -> int:
        """The place after the last: all that was confirmed before this call lies below."""

    def read(
        self, *, start: int | datetime = 0, end: int | None = None
    ) -> Generator[Recorded, None, None]:
        """Read in order; memory does not grow with the number. Close what is left before its end.

        Args:
            start: a place, or the time of arrival from about which on.
            end: the place to stop before; None to wait for more, for ever.

        Raises:
            BrokerUnavailable: it is away for longer than a reading waits.
        """

    def close(self) -> None:
        """End a reading elsewhere, soon."""


class Broker(Protocol):
    """Where messages pass. Its methods are for any thread."""

    def set_up(self, topology: Topology) -> list[str]:
        """Make it as the topology says; again changes nothing.

        Returns:
            What was left undone for lack of permission, a sentence each.

        Raises:
            BrokerUnavailable: it cannot be reached or is too old.
        """

    def check(self, topology: Topology) -> list[str]:
        """What is not as the topology says, a sentence each."""

    def probe(self) -> str:
        """Name and version, if it answers.

        Raises:
            BrokerUnavailable: it does not, or is too old.
        """

    def depth(self, queue: str) -> Depth:
        """How much waits in a queue, and whether anybody takes it.

        Raises:
            BrokerUnavailable: the broker does not answer, or has no such queue.
        """

    def bind(self, queue: Queue) -> None:
        """Bind a service's own queue to what it subscribes to."""

    def publisher(self) -> Publisher:
        """A new publisher; it connects when it is used."""

    def consumer(self, queue: str, *, prefetch: int, cautious: bool = True) -> Consumer:
        """A new consumer of a queue.

        Args:
            prefetch: how many unsettled deliveries the broker sends ahead, at most.
            cautious: only one, until `PROVEN_AFTER` are done; for whoever handles them. Who does
                not, only looks: it ends with its connection, and so sees nothing twice.
        """

    def history(self) -> HistoryReader:
        """A new reader of the record of all that was published."""

    def close(self) -> None:
        """Let go of everything."""
