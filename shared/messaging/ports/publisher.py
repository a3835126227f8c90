"""The port for publishing messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message to publish.

    Attributes:
        event_id: the same for every copy of the event.
        topic: routing key, such as `order.placed`.
        type: type on the wire, such as `order.placed.v1`.
        body: a CloudEvent in structured JSON, at most 1 MiB.
        source: name of the publishing service.
        only_to: name of the one queue to deliver to; None for all queues bound to the topic.
        replays: how often the message has been redriven or replayed.
        low_priority: True to be delivered after all other messages that are ready in the queue.
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
    """Publishes messages over a connection of its own, which it opens when it is first used.

    `publish` may be called from any number of threads at a time.
    """

    def publish(self, messages: Sequence[Message]) -> list[str | None]:
        """Publish messages and wait until the broker has confirmed or rejected each.

        A message goes into the history and into every queue that is bound to its topic, perhaps
        none; one with `only_to` goes into that queue alone and not into the history. A rejected
        message does not affect the others. Messages may be duplicated, but none is lost.

        Returns:
            For each message in order: None if it is stored durably, or the reason why the broker
            will never accept it: it is too large, or its `only_to` queue does not exist.

        Raises:
            BrokerUnavailable: the outcome of all messages is unknown; publish them again. The
                publisher stays usable and connects again at the next call.
        """

    def close(self) -> None:
        """Close the connection; a second call has no effect."""
