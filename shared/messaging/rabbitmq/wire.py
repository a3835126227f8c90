"""Converts messages to AMQP properties, and AMQP deliveries to `Delivery`.

All properties of a delivery are untrusted: each may be missing or of any type. The broker's
counters are trusted only on a redelivery, when the broker has set them; on a first delivery a
sender can have set them.
"""

import struct
from collections.abc import Mapping
from datetime import datetime

from pika import spec
from pika.exceptions import AMQPError

from shared.messaging.binary_mode import structured_body
from shared.messaging.codec import CONTENT_TYPE
from shared.messaging.ports.consumer import Delivery
from shared.messaging.ports.publisher import Message
from shared.messaging.rabbitmq.field_tables import PartlyDecoded
from shared.messaging.topology import EVENTS, REPLAYS

REPLAYS_HEADER = "shop-replays"
"""Holds `Message.replays`. Headers that begin with `x-` belong to the broker."""

NOT_ENCODABLE = (AMQPError, ValueError, TypeError, OverflowError, AttributeError, struct.error)
"""What pika raises for a message that AMQP cannot carry, such as one with a topic of 256 bytes."""

_MAX_COUNT = 2**31

_UNDECODABLE = "its properties cannot be decoded"


def target(message: Message) -> tuple[str, str]:
    """Exchange and routing key."""
    return (REPLAYS, message.only_to) if message.only_to else (EVENTS, message.topic)


def properties_of(message: Message, *, user: str) -> spec.BasicProperties:
    """The AMQP properties of a message to publish.

    Args:
        user: the user of the connection; the broker refuses a message that names another one.
            https://www.rabbitmq.com/docs/validated-user-id
    """
    return spec.BasicProperties(  # type: ignore[no-untyped-call]
        content_type=CONTENT_TYPE,
        headers={REPLAYS_HEADER: message.replays} if message.replays > 0 else None,
        delivery_mode=2,
        # A quorum queue delivers messages without a priority before those of priority 0.
        priority=0 if message.low_priority else None,
        correlation_id=message.correlation_id or None,
        message_id=message.event_id,
        timestamp=_timestamp(message.occurred_at),
        type=message.type,
        user_id=user or None,
        app_id=message.source,
    )


def _timestamp(moment: datetime | None) -> int | None:
    """Seconds since 1970; None for an earlier time, which AMQP cannot express."""
    seconds = int(moment.timestamp()) if moment else -1
    return seconds if seconds >= 0 else None


def delivery(
    queue: str,
    method: spec.Basic.Deliver,
    properties: spec.BasicProperties,
    body: bytes,
    *,
    token: object,
) -> Delivery:
    """A delivery, with the properties that are usable."""
    headers = _headers(properties)
    flaw = flaw_of(properties)
    return Delivery(
        queue=queue,
        body=body_of(properties, body),
        event_id="" if flaw else text_of(properties.message_id),
        type="" if flaw else text_of(properties.type),
        attempt=(_failures(headers) if method.redelivered else 0) + 1,
        replays=_count(headers.get(REPLAYS_HEADER)),
        token=token,
        topic=text_of(method.routing_key),
        is_replay=method.exchange == REPLAYS,
        user=text_of(properties.user_id),
        reason=text_of(headers.get("x-last-death-reason"))[:100],
        flaw=flaw,
    )


def flaw_of(properties: spec.BasicProperties) -> str:
    """Why a message with these properties cannot be an event; empty if it can."""
    return _UNDECODABLE if isinstance(properties.headers, PartlyDecoded) else ""


def body_of(properties: spec.BasicProperties, body: bytes) -> bytes:
    """The body of a message, in structured mode whatever its content mode is."""
    if properties.content_type == CONTENT_TYPE or flaw_of(properties):
        return body
    return structured_body(_headers(properties), text_of(properties.content_type), body)


def _headers(properties: spec.BasicProperties) -> dict[str | bytes, object]:
    return properties.headers if isinstance(properties.headers, dict) else {}


def _failures(headers: Mapping[str | bytes, object]) -> int:
    """Failed attempts of a redelivered message.

    The broker always sets x-acquired-count, but x-delivery-count only after a failure: until then
    a sender's value remains, so the smaller of the two counts.
    """
    return min(_count(headers.get("x-delivery-count")), _count(headers.get("x-acquired-count")))


def text_of(value: object) -> str:
    """The value if it is a string, else an empty string."""
    return value if isinstance(value, str) else ""


def _count(value: object) -> int:
    # pika decodes some numbers as a subclass of int, and bool is one too.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_COUNT:
        return value
    return 0
