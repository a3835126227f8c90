"""The way into a broker."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


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
