"""Other programs read our events, and we read theirs, with no code of ours on their side."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pika
import pytest
from cloudevents.core.bindings import amqp as amqp_binding
from cloudevents.core.bindings import rabbitmq as binding
from cloudevents.core.v1.event import CloudEvent
from pika.adapters.blocking_connection import BlockingChannel

from services.loyalty.service import loyalty
from services.orders.order import Order
from services.orders.placing import NewOrder, place_order
from services.orders.service import orders
from shared.messaging.ports.consumer import Outcome
from shared.messaging.rabbitmq import RabbitBroker
from shared.messaging.topology import Retry, Topology
from shared.runtime.reactor import Reactor
from shared.runtime.relay import send_some
from shared.storage.database import Database
from shared.storage.migrating import migrate
from tests.containers import Vhost
from tests.support.waiting import eventually

CUSTOMER = "customer@example.com"


@pytest.fixture
def broker(rabbitmq_vhost: Vhost) -> Iterator[RabbitBroker]:
    """A broker with the topology of two of our services."""
    broker = RabbitBroker(rabbitmq_vhost.amqp_url, admin_url=rabbitmq_vhost.admin_url)
    broker.set_up(Topology(queues=(orders.queue(), loyalty.queue())))
    yield broker
    broker.close()


@pytest.fixture
def channel(broker: RabbitBroker, rabbitmq_vhost: Vhost) -> Iterator[BlockingChannel]:
    """A plain AMQP client."""
    del broker  # it declared the exchange
    with closing(
        pika.BlockingConnection(pika.URLParameters(rabbitmq_vhost.amqp_url))
    ) as connection:
        yield connection.channel()


@pytest.fixture
def queue(channel: BlockingChannel) -> str:
    """A queue of the client's own, bound to all events of orders."""
    name = str(channel.queue_declare("", exclusive=True).method.queue)
    channel.queue_bind(name, "events", "order.*")
    return name


def place(folder: Path, broker: RabbitBroker) -> Order:
    """Place an order, and let the relay send its event."""
    new_order = NewOrder(
        order_id="ORD-123",
        customer_email=CUSTOMER,
        shipping_address="123 Main St, Springfield",
        items={"product-1": 2, "product-2": 1},
    )
    with (
        closing(Database(f"sqlite:///{folder / 'orders.db'}")) as database,
        closing(broker.publisher()) as publisher,
    ):
        migrate(database, orders.migrations)
        with orders.unit_of_work(database) as work:
            order = place_order(new_order, work)
        assert len(send_some(database, publisher, source="orders").sent) == 1
    return order


def receive(channel: BlockingChannel, queue: str) -> tuple[pika.BasicProperties, bytes]:
    """Wait for a message in a queue, and take it."""
    received: list[tuple[pika.BasicProperties, bytes]] = []

    def has_arrived() -> bool:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is not None and properties is not None and body is not None:
            received.append((properties, body))
        return bool(received)

    eventually(has_arrived)
    return received[0]


def test_a_plain_client_reads_an_event_with_a_json_parser_alone(
    tmp_path: Path, broker: RabbitBroker, channel: BlockingChannel, queue: str
) -> None:
    order = place(tmp_path, broker)

    properties, body = receive(channel, queue)

    event = json.loads(body)
    assert event["specversion"] == "1.0"
    assert event["source"] == "/orders"
    assert event["type"] == "order.placed.v1"
    assert event["subject"] == "ORD-123"
    assert event["data"] == {
        "order_id": "ORD-123",
        "customer_email": CUSTOMER,
        "items": {"product-1": 2, "product-2": 1},
        "shipping_address": "123 Main St, Springfield",
        "total_amount": "99.99",
        "currency": "EUR",
    }
    assert datetime.fromisoformat(event["time"]) == order.placed_at
    assert properties.content_type == "application/cloudevents+json"
    assert properties.message_id == event["id"]
    assert properties.type == event["type"]
    assert properties.correlation_id == event["correlationid"]
    assert properties.app_id == "orders"
    assert properties.delivery_mode == 2
    assert properties.timestamp == int(datetime.fromisoformat(event["time"]).timestamp())


def test_the_cloudevents_sdk_reads_what_we_publish(
    tmp_path: Path, broker: RabbitBroker, channel: BlockingChannel, queue: str
) -> None:
    order = place(tmp_path, broker)

    properties, body = receive(channel, queue)
    message = binding.RabbitMQMessage({}, properties.content_type, body)
    event = binding.from_rabbitmq_event(message)

    assert event.get_type() == "order.placed.v1"
    assert event.get_source() == "/orders"
    assert event.get_subject() == "ORD-123"
    assert event.get_time() == order.placed_at
    assert event.get_extension("correlationid") == properties.correlation_id
    data = event.get_data()
    assert isinstance(data, dict)
    assert Decimal(data["total_amount"]) == order.total_amount


def structured(event: CloudEvent) -> tuple[bytes, pika.BasicProperties]:
    message = binding.to_structured_event(event)
    return message.body, _properties(message.headers, message.content_type)


def binary(event: CloudEvent) -> tuple[bytes, pika.BasicProperties]:
    message = binding.to_binary_event(event)
    return message.body, _properties(message.headers, message.content_type)


def binary_of_amqp(event: CloudEvent) -> tuple[bytes, pika.BasicProperties]:
    message = amqp_binding.to_binary_event(event)
    content_type = str(message.properties["content-type"])
    headers = dict(message.application_properties)
    # The library gives milliseconds, which a client sends as AMQP's type of time.
    headers["cloudEvents_time"] = datetime.fromtimestamp(headers["cloudEvents_time"] / 1000, UTC)
    return message.application_data, _properties(headers, content_type)


def _properties(headers: Mapping[str, Any], content_type: str | None) -> pika.BasicProperties:
    return pika.BasicProperties(  # type: ignore[no-untyped-call]
        headers=dict(headers), content_type=content_type
    )


@pytest.mark.parametrize("mode", [structured, binary, binary_of_amqp])
def test_we_read_what_the_cloudevents_sdk_publishes(
    tmp_path: Path,
    broker: RabbitBroker,
    channel: BlockingChannel,
    mode: Callable[[CloudEvent], tuple[bytes, pika.BasicProperties]],
) -> None:
    event = CloudEvent(
        {
            "id": str(uuid4()),
            "source": "/orders",
            "type": "order.placed.v1",
            "subject": "ORD-9",
            "specversion": "1.0",
            "time": datetime.now(UTC),
            "datacontenttype": "application/json; charset=utf-8",
            "correlationid": "txn-abc-123",
            "colour": "an unknown extension",
        },
        {
            "order_id": "ORD-9",
            "customer_email": CUSTOMER,
            "items": {"product-1": 1},
            "shipping_address": "123 Main St, Springfield",
            "total_amount": "49.99",
            "currency": "EUR",
            "gift_wrap": True,
        },
    )
    body, properties = mode(event)
    channel.basic_publish("events", "order.placed", body, properties)

    with (
        closing(Database(f"sqlite:///{tmp_path / 'loyalty.db'}")) as database,
        closing(broker.consumer("loyalty", prefetch=1, slow_start=False)) as consumer,
    ):
        migrate(database, loyalty.migrations)
        reactor = Reactor(service=loyalty, database=database, retry=Retry())
        reaction = reactor.react(consumer.take(1, wait=10))
        consumer.settle([each.settlement for each in reaction.results])
        with database.read() as connection:
            points = loyalty.store(connection, database).balance(CUSTOMER)

    assert [each.outcome for each in reaction.results] == [Outcome.DONE]
    assert points == 49
