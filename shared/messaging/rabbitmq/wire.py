"""Messages as AMQP carries them, and what arrives as deliveries.

Of what arrives every property is the sender's word: any of them may be missing or of any type. The
broker's own counts are its word only on a message that it delivers again: it sets them then, and
lets a stranger's pass before.
"""

import struct
from datetime import datetime
from functools import lru_cache

from pika import frame, spec
from pika.exceptions import AMQPError

from shared.messaging.ports.consumer import Delivery
from shared.messaging.ports.publisher import Message
from shared.messaging.topology import EVENTS, REPLAYS

REPLAYS_HEADER = "shop-replays"
"""Ours; all headers that begin with `x-` are the broker's."""

UNSENDABLE = (AMQPError, ValueError, TypeError, OverflowError, AttributeError, struct.error)
"""What encoding a message raises that no AMQP frame can hold: a topic of 256 bytes, for one."""

_MOST = 2**31


def target(message: Message) -> tuple[str, str]:
    """Exchange and routing key."""
    return (REPLAYS, message.only_to) if message.only_to else (EVENTS, message.topic)


def frames(message: Message, *, channel: int, most_bytes: int) -> bytes:
    """The frames that publish a message, ready for the socket.

    Joined here, since pika hands each frame to the socket alone: three system calls a message.

    Args:
        most_bytes: size of a frame, as negotiated.

    Raises:
        UNSENDABLE: one of them.
    """
    body, step = message.body, most_bytes - 8  # a frame's own head and end
    pieces = [body[start : start + step] for start in range(0, len(body), step)]
    return b"".join(
        (
            _method(*target(message), channel=channel),
            frame.Header(channel, len(body), _properties(message)).marshal(),
            *(frame.Body(channel, each).marshal() for each in pieces),
        )
    )


@lru_cache(maxsize=256)
def _method(exchange: str, routing_key: str, *, channel: int) -> bytes:
    # Mandatory: a replay to a queue that is not there would vanish without a word.
    publish = spec.Basic.Publish(  # type: ignore[no-untyped-call]
        exchange=exchange, routing_key=routing_key, mandatory=True
    )
    encoded: bytes = frame.Method(channel, publish).marshal()
    return encoded


def _properties(message: Message) -> spec.BasicProperties:
    return spec.BasicProperties(  # type: ignore[no-untyped-call]
        content_type="application/cloudevents+json",
        headers={REPLAYS_HEADER: message.replays} if message.replays > 0 else None,
        delivery_mode=2,
        # Messages without a priority go before those of priority 0 in a quorum queue.
        priority=0 if message.low_priority else None,
        correlation_id=message.correlation_id or None,
        message_id=message.event_id,
        timestamp=_seconds(message.occurred_at),
        type=message.type,
        app_id=message.source,
    )


def _seconds(moment: datetime | None) -> int | None:
    """AMQP counts from 1970 on; the body says when it was."""
    seconds = int(moment.timestamp()) if moment else -1
    return seconds if seconds >= 0 else None


def delivery(
    queue: str, properties: spec.BasicProperties, body: bytes, *, is_again: bool, token: object
) -> Delivery:
    """What arrived, with what can be used of its properties.

    Args:
        is_again: the broker says that it has delivered it before.
    """
    headers = properties.headers if isinstance(properties.headers, dict) else {}
    return Delivery(
        queue=queue,
        body=body,
        event_id=text_of(properties.message_id),
        type=text_of(properties.type),
        attempt=(_failures(headers) if is_again else 0) + 1,
        replays=_number(headers.get(REPLAYS_HEADER)),
        token=token,
        reason=text_of(headers.get("x-last-death-reason"))[:100],
    )


def _failures(headers: dict[str, object]) -> int:
    """Of what comes again the broker counts how often, and the failures if there were any.

    So where there were none a stranger's count can still stand there.
    """
    counts = "x-delivery-count", "x-acquired-count"
    return min(_number(headers.get(each)) for each in counts)


def text_of(value: object) -> str:
    """A property, if it is text."""
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    usable = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST
    return value if usable and isinstance(value, int) else 0
