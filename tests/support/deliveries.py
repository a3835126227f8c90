"""Events as deliveries, as a broker would deliver them."""

from typing import Any

from shared.events import DomainEvent, topic_of
from shared.messaging.codec import encode
from shared.messaging.ports.consumer import Delivery
from shared.storage import inbox
from shared.testing import publisher_of


def delivery_of(
    event: DomainEvent, *, queue: str, source: str | None = None, **differing: Any
) -> Delivery:
    """An event's first delivery.

    Args:
        source: the publishing service; by default one that may publish the event.
        differing: attributes of the delivery that differ.
    """
    fields: dict[str, Any] = {
        "queue": queue,
        "body": encode(event, source=source or publisher_of(event)),
        "event_id": str(event.event_id),
        "type": event.type,
        "attempt": 1,
        "replays": 0,
        "token": None,
        "topic": topic_of(event.type),
    }
    return Delivery(**fields | differing)


def entry_of(event: DomainEvent) -> inbox.Entry:
    """An event as the inbox knows it after its delivery."""
    source = publisher_of(event)
    return inbox.Entry.of(event, encode(event, source=source), source=f"/{source}")
