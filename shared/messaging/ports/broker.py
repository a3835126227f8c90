"""A broker: where publishers, consumers and readers come from, and what is set up.

Guarantees that every adapter keeps, held by tests/contract: a published message is durable in
every queue bound to its topic once `publish` has answered; a delivery stays the broker's until it
is settled; a failed one comes back after the queue's delay and, past its limit, goes to the dead
queue; what is handed back counts as no attempt.
"""

from dataclasses import dataclass
from typing import Protocol

from shared.messaging.ports.consumer import Consumer
from shared.messaging.ports.history import HistoryReader
from shared.messaging.ports.publisher import Publisher
from shared.messaging.topology import Queue, Topology


@dataclass(frozen=True, slots=True)
class Depth:
    """What a queue holds now.

    Attributes:
        ready: messages that could be delivered; neither delayed nor delivered and unsettled.
        consumers: how many are registered.
    """

    ready: int
    consumers: int


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

    def consumer(self, queue: str, *, prefetch: int, slow_start: bool = True) -> Consumer:
        """A new consumer of a queue.

        Args:
            prefetch: how many unsettled deliveries the broker sends ahead, at most.
            slow_start: one delivery at a time until `SLOW_START_AFTER` are done. A consumer that
                handles nothing, such as a listing of dead letters, needs none.
        """

    def history(self) -> HistoryReader:
        """A new reader of the record of all that was published."""

    def close(self) -> None:
        """Let go of everything."""
