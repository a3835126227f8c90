"""The port for consuming one queue."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

SLOW_START_AFTER = 5
"""Deliveries a consumer must settle as DONE before it may hold more than one. Whatever a process
held when it died counts as failed, so a poison message must not take others with it."""


class Outcome(Enum):
    """What the broker must do with a delivery."""

    DONE = "done"
    """Acknowledge: the message is handled, now or before, and leaves the queue."""
    RETRY = "retry"
    """Count a failed attempt; deliver again after the queue's delay, dead past its limit."""
    DEAD = "dead"
    """Move the message to the dead queue at once."""
    REQUEUE = "requeue"
    """Not attempted: deliver again without delay and without counting an attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message that a consumer holds until it is settled.

    All attributes that a sender sets are untrusted: body, event_id, type and replays. The broker
    checks that a sender may use the topic, and that `user` is the sender's own.

    Attributes:
        event_id: from the message's property; empty if missing.
        type: from the message's property; empty if missing.
        attempt: 1 for the first; each failed attempt adds one.
        replays: how often the message has been redriven or replayed.
        token: identifies the delivery to its consumer; opaque to others.
        topic: the routing key; of a replay, the name of the queue.
        is_replay: whether it was sent to this queue alone, through the exchange `replays`.
        user: the broker's user who published it; empty if the message or the broker has none.
        reason: the broker's word for why the message is dead; empty in a live queue.
        flaw: why the message cannot be an event whatever its body is; usually empty.
    """

    queue: str
    body: bytes
    event_id: str
    type: str
    attempt: int
    replays: int
    token: object
    topic: str = ""
    is_replay: bool = False
    user: str = ""
    reason: str = ""
    flaw: str = ""


Settlement = tuple[Delivery, Outcome]


class Consumer(Protocol):
    """Consumes one queue. `take` and `settle` are for one thread, the rest for any."""

    def take(self, limit: int, /, *, wait: float) -> list[Delivery]:
        """Return at most `limit` deliveries as soon as there is one; reconnects if necessary.

        Args:
            wait: seconds until the call returns an empty list.

        Raises:
            BrokerRefused: the broker refuses the connection, such as for a wrong password.
            BrokerUnavailable: the queue does not exist or cannot be used.
        """

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Tell the broker the outcomes of deliveries.

        A delivery whose connection was lost, or that was settled before, is ignored: the broker
        delivers its message again.
        """

    def isolate(self, delivery: Delivery) -> None:
        """Requeue everything held except one delivery, and begin slow start again.

        Returns when the broker has taken the others back. For a possible poison message: if the
        process dies, nothing else counts as failed.
        """

    @property
    def is_consuming(self) -> bool:
        """Whether the broker has this consumer registered now."""

    def wake(self) -> None:
        """Make a waiting `take`, or the next one, return at once."""

    def close(self) -> None:
        """Requeue everything held and disconnect; a waiting `take` returns an empty list."""
