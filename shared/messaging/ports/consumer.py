"""The way out of one queue."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

SLOW_START_AFTER = 5
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
    REQUEUE = "hand back"
    """Not attempted: neither counted nor delayed."""


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


Settlement = tuple[Delivery, Outcome]


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

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Say what became of deliveries. One whose connection is gone comes again by itself."""

    def isolate(self, delivery: Delivery) -> None:
        """Hold this delivery alone: requeue all others, and begin slowly again.

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
