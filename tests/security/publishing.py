"""Publishes hostile messages: on RabbitMQ frame by frame, since no client encodes most of them."""

from collections.abc import Sequence

import pika
from pika import frame, spec
from pika.adapters.utils import connection_workflow
from pika.exceptions import AMQPError

from shared.messaging.embedded import EmbeddedBroker
from shared.messaging.ports.publisher import Message
from shared.messaging.topology import EVENTS
from tests.security.hostile_messages import HostileMessage, encode_properties

BASIC = 60
"""The number of AMQP's class of methods for messages."""


def publish_embedded(broker: EmbeddedBroker, messages: Sequence[HostileMessage]) -> set[str]:
    """Publish the messages whose properties the embedded broker knows; returns the refused ones.

    It has no properties but id and type, so messages about others are refused too.
    """
    known = [each for each in messages if each.properties is None]
    publisher = broker.publisher()
    reasons = publisher.publish(
        [
            Message(
                # Not an id that is shown, so that a dead letter is named by its digest.
                event_id=each.message_id or f"message {number}",
                topic=each.topic,
                type=each.type,
                body=each.body,
                source="orders",
            )
            for number, each in enumerate(known)
        ]
    )
    publisher.close()
    refused = {each.name for each, reason in zip(known, reasons, strict=True) if reason}
    return refused | {each.name for each in messages if each.properties is not None}


class RawPublisher:
    """Publishes with one connection, and a new one after each message that the broker refuses."""

    def __init__(self, url: str) -> None:
        self._parameters = pika.URLParameters(url)
        self._connection: pika.BlockingConnection | None = None

    def publish(self, messages: Sequence[HostileMessage]) -> dict[str, str]:
        """Publish messages; returns the broker's reason for each that it refused, by name."""
        refused: dict[str, str] = {}
        for each in messages:
            try:
                self._publish(each)
            except (AMQPError, connection_workflow.AMQPConnectorException) as error:
                refused[each.name] = str(error)
                self.close()
        return refused

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and connection.is_open:
            connection.close()

    def _publish(self, message: HostileMessage) -> None:
        if self._connection is None:
            self._connection = pika.BlockingConnection(self._parameters)
            self._channel = self._connection.channel()
        number = self._channel.channel_number
        frames = encode(message, channel=number)
        self._connection._impl._output_marshaled_frames(frames)
        # The broker answers in order, so after its answer to this it has accepted the message.
        self._channel.basic_qos(prefetch_count=1)


def encode(message: HostileMessage, *, channel: int) -> list[bytes]:
    """The frames that publish a message."""
    properties = message.properties
    if properties is None:
        properties = _plain_properties(message)
    method = spec.Basic.Publish(exchange=EVENTS, routing_key=message.topic)  # type: ignore[no-untyped-call]
    payload = BASIC.to_bytes(2) + bytes(2) + len(message.body).to_bytes(8) + properties
    size = 100_000
    return [
        frame.Method(channel, method).marshal(),
        b"\x02" + channel.to_bytes(2) + len(payload).to_bytes(4) + payload + b"\xce",
        *(
            frame.Body(channel, message.body[start : start + size]).marshal()
            for start in range(0, len(message.body), size)
        ),
    ]


def _plain_properties(message: HostileMessage) -> bytes:
    texts = {"message_id": message.message_id, "type": message.type}
    encoded = {name: text.encode() for name, text in texts.items() if text}
    return encode_properties(
        delivery_mode=b"\x02", **{name: bytes([len(text)]) + text for name, text in encoded.items()}
    )
