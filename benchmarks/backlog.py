"""Publishes a backlog of orders in the format of the library that consumes it."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import islice
from uuid import uuid4

import pika

from benchmarks.comparison import MeasurementFailed
from benchmarks.sample_orders import Orders
from shared.messaging.connect import broker_at

QUEUE = "bench"
QUORUM: Mapping[str, object] = {"x-queue-type": "quorum"}
DRAMATIQ: Mapping[str, object] = {
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": f"{QUEUE}.XQ",
}
"""Dramatiq's queue arguments; the virtual host's default makes it a quorum queue."""

_AT_ONCE = 1_000

Encoded = tuple[pika.BasicProperties, bytes]
Encode = Callable[[bytes], Encoded]


def publish_backlog(amqp_url: str, orders: Orders, service: str) -> None:
    """Publish the orders to one service's queue, each confirmed."""
    with closing(broker_at(amqp_url, app="benchmark")) as broker:
        publisher = broker.publisher()
        deliveries = orders.deliveries()
        while some := list(islice(deliveries, _AT_ONCE)):
            answers = publisher.publish([orders.message(each, only_to=service) for each in some])
            refused = [why for why in answers if why is not None]
            if refused:
                raise MeasurementFailed(f"the broker refused some of the backlog: {refused[0]}")


def publish_peer_backlog(
    amqp_url: str, orders: Orders, encode: Encode, arguments: Mapping[str, object]
) -> None:
    """Declare the peers' queue and publish the same orders to it."""
    with closing(pika.BlockingConnection(pika.URLParameters(amqp_url))) as connection:
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True, arguments=dict(arguments))
        for properties, body in _encoded(orders, encode):
            channel.basic_publish("", QUEUE, body, properties)
        _wait_until_queued(connection, sum(1 for _ in orders.deliveries()))


def _encoded(orders: Orders, encode: Encode) -> Iterator[Encoded]:
    for number in orders.deliveries():
        yield encode(orders.bodies[number])


def _wait_until_queued(connection: pika.BlockingConnection, number: int) -> None:
    """Wait for unconfirmed messages; a passive declare counts those that are ready."""
    channel = connection.channel()
    for _ in range(300):
        found = channel.queue_declare(QUEUE, passive=True).method.message_count
        if found == number:
            return
        connection.sleep(0.1)
    raise MeasurementFailed(f"only {found} of {number} reached the queue")


def encode_plain(body: bytes) -> Encoded:
    """The event without a wrapper."""
    return _properties(content_type="application/json"), body


def encode_for_celery(body: bytes) -> Encoded:
    """A Celery task.

    Source: https://docs.celeryq.dev/en/stable/internals/protocol.html#version-2
    """
    task_id = str(uuid4())
    properties = _properties(
        content_type="application/json",
        content_encoding="utf-8",
        correlation_id=task_id,
        headers={"lang": "py", "task": "reserve_stock", "id": task_id, "root_id": task_id},
    )
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return properties, json.dumps([[body.decode()], {}, embed]).encode()


def encode_for_dramatiq(body: bytes) -> Encoded:
    """A Dramatiq message.

    Source: https://dramatiq.io/reference.html#dramatiq.Message
    """
    message = {
        "queue_name": QUEUE,
        "actor_name": "reserve_stock",
        "args": [body.decode()],
        "kwargs": {},
        "options": {},
        "message_id": str(uuid4()),
        "message_timestamp": 0,
    }
    return _properties(), json.dumps(message).encode()


def _properties(**values: object) -> pika.BasicProperties:
    return pika.BasicProperties(delivery_mode=2, **values)  # type: ignore[no-untyped-call]
