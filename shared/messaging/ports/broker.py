"""The port for a broker: its set-up, and a factory of publishers, consumers and readers.

Every adapter guarantees, as tests/contract checks:

- A message that `publish` has confirmed is durable in the history and in every bound queue.
- A message stays in its queue until a consumer settles its delivery. One whose consumer's process
  died is delivered again, as a failed attempt.
- A failed message is delivered again after the queue's delay and is dead past the queue's limit.
- A requeued message is delivered again without counting an attempt.
"""

from dataclasses import dataclass
from typing import Protocol

from shared.messaging.ports.consumer import Consumer
from shared.messaging.ports.history import HistoryReader
from shared.messaging.ports.publisher import Publisher
from shared.messaging.topology import Queue, Topology


@dataclass(frozen=True, slots=True)
class Depth:
    """The size of a queue; `ready` messages are neither delayed nor held by a consumer."""

    ready: int
    consumers: int


class Broker(Protocol):
    """A broker; it connects when it is used. All methods may be called from any thread.

    Methods that use the broker raise BrokerUnavailable if it does not answer, is too old, or lacks
    the queue.
    """

    @property
    def user(self) -> str:
        """The user of its connections; empty if the broker knows no users."""

    def set_up(self, topology: Topology) -> list[str]:
        """Create or change exchanges, queues and bindings; a second call has no effect.

        Bindings that the topology no longer names are removed; queues and their messages stay.

        Returns:
            What was not done because of a missing permission, a sentence each.
        """

    def check(self, topology: Topology) -> list[str]:
        """Return how the broker differs from a topology, a sentence each."""

    def ended_subscriptions(self, topology: Topology) -> dict[str, frozenset[str]]:
        """Return the topics that a topology's queues are bound to and no longer name, by queue.

        `set_up` removes these bindings. It is empty where the broker does not say what is bound.
        """

    def probe(self) -> str:
        """Check that the broker answers, and return its name and version.

        Raises:
            BrokerUnavailable: it does not answer or is too old.
        """

    def shortages(self) -> list[str]:
        """Return what keeps the broker from accepting messages, or soon will, a sentence each.

        Each says what to do.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """

    def clock_difference(self) -> float | None:
        """Seconds by which the broker's clock is ahead of this machine's at least; or behind (< 0).

        Returns:
            None if it is this machine's clock, or cannot be asked.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """

    def depth(self, queue: str) -> Depth:
        """Return the size of a queue."""

    def size(self, queue: str) -> int:
        """Return how many messages a queue has, also delayed and held ones; 0 without the queue.

        Raises:
            BrokerUnavailable: the broker's management API is needed and not known.
        """

    def consumers(self, queue: str) -> int:
        """Return how many consumers a queue has; 0 without the queue."""

    def remove(self, service: str, *, has_user: bool) -> None:
        """Remove a service's queue, dead queue, their messages, bindings and settings.

        Repeating it is safe. The history stays.

        Args:
            has_user: whether each service has a broker user of its name, which is removed too.

        Raises:
            InvalidInput: the queue of this name is not a service's.
            BrokerUnavailable: the broker's management API is needed and not known.
        """

    def bind(self, queue: Queue) -> None:
        """Bind a service's own queue to its topics; other bindings of the queue stay."""

    def publisher(self) -> Publisher:
        """Create a publisher."""

    def consumer(self, queue: str, *, prefetch: int, slow_start: bool = True) -> Consumer:
        """Create a consumer of a queue.

        Args:
            prefetch: maximum number of unsettled deliveries that the consumer holds.
            slow_start: False to hold more than one delivery before `SLOW_START_AFTER` are done, for
                a consumer that runs no handler, such as a listing of dead letters.
        """

    def history(self) -> HistoryReader:
        """Create a reader of the history."""

    def close(self) -> None:
        """Close all publishers and consumers that this object created."""
