"""Bindings that the topology does not have, whoever added them."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from shared.messaging.rabbitmq import RabbitBroker, grant
from shared.messaging.rabbitmq.management import Management
from shared.messaging.topology import Queue, Topology
from tests.containers import Vhost
from tests.contract.brokers import order_placed, receive, send

ORDERS = Queue(
    name="orders", topics=frozenset({"order.shipped"}), publishes=frozenset({"order.placed"})
)
EMAIL = Queue(name="email", topics=frozenset({"order.placed", "order.shipped"}))
TOPOLOGY = Topology(queues=(ORDERS, EMAIL))
PASSWORDS = dict.fromkeys(("orders", "email"), "hush")


@pytest.fixture
def admin(rabbitmq_vhost: Vhost) -> Iterator[RabbitBroker]:
    broker = RabbitBroker(rabbitmq_vhost.amqp_url, admin_url=rabbitmq_vhost.admin_url)
    assert broker.set_up(TOPOLOGY) == []
    grant(rabbitmq_vhost.admin_url, TOPOLOGY, PASSWORDS, vhost=rabbitmq_vhost.name)
    yield broker
    broker.close()
    for name in PASSWORDS:
        Management(rabbitmq_vhost.admin_url).delete("users", name)


@pytest.fixture
def orders(admin: RabbitBroker, rabbitmq_vhost: Vhost) -> Iterator[BlockingChannel]:
    """A channel with the permissions of orders."""
    del admin
    parameters = pika.URLParameters(rabbitmq_vhost.as_user("orders", "hush"))
    with ExitStack() as stack:
        connection = pika.BlockingConnection(parameters)
        stack.callback(connection.close)
        yield connection.channel()


def bindings_of(vhost: Vhost) -> list[Any]:
    listed = Management(vhost.admin_url).get("bindings", vhost.name)
    return sorted(
        (each["source"], each["destination"], each["destination_type"], each["properties_key"])
        for each in listed
    )


STRANGE: Any = {
    "x": "a/b~c%2F é",
    "number": 2**40,
    "nested": {"list": [1, True, None]},
    "control": "\x1b[2J",
}


def test_what_a_service_bound_itself_is_reported_and_removed(
    admin: RabbitBroker, orders: BlockingChannel, rabbitmq_vhost: Vhost
) -> None:
    before = bindings_of(rabbitmq_vhost)
    orders.queue_bind("orders", "events", "order.shipped", arguments=STRANGE)
    orders.exchange_bind("replays", "events", "order.shipped")
    orders.exchange_bind("events", "events", "order.shipped", arguments={"again": 1})

    assert admin.check(TOPOLOGY) == [
        "the binding of the exchange events to events by order.shipped with arguments is stale",
        "the binding of orders to events by order.shipped with arguments is stale",
        "the binding of the exchange replays to events by order.shipped is stale",
    ]
    assert admin.set_up(TOPOLOGY) == []

    assert bindings_of(rabbitmq_vhost) == before
    assert admin.check(TOPOLOGY) == []


def test_exchanges_that_a_service_bound_deliver_no_event_twice_or_elsewhere(
    admin: RabbitBroker, orders: BlockingChannel
) -> None:
    orders.exchange_bind("replays", "events", "order.shipped")
    orders.exchange_bind("events", "events", "order.shipped")

    send(admin, message := order_placed("order.shipped"))

    for name in ("orders", "email"):
        consumer = admin.consumer(name, prefetch=10)
        assert [each.body for each in receive(consumer)] == [message.body]
        assert consumer.take(10, wait=0.5) == []


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        pytest.param("amq.topic q email #", "of email to amq.topic by # is stale", id="foreign"),
        pytest.param("events q email.dead #", "of email.dead to events", id="dead-queue"),
        pytest.param("replays q history #", "of history to replays", id="history"),
        pytest.param("events q history order.*", "of history to events", id="again"),
        pytest.param("replays q email orders", "of email to replays", id="foreign-replay"),
        pytest.param("dead-letters q orders.dead email", "of orders.dead to dead", id="dead"),
        pytest.param("amq.topic e events #", "of the exchange events to amq.t", id="exchange"),
    ],
)
def test_a_binding_that_brings_messages_to_the_services_is_stale(
    admin: RabbitBroker, rabbitmq_vhost: Vhost, where: str, problem: str
) -> None:
    *parts, key = where.split()
    management = Management(rabbitmq_vhost.admin_url)
    path = ("bindings", rabbitmq_vhost.name, "e", *parts)
    management._request("POST", path, {"routing_key": key})

    [found] = admin.check(TOPOLOGY)
    admin.set_up(TOPOLOGY)

    assert problem in found
    assert admin.check(TOPOLOGY) == []


def test_an_administrators_own_queue_and_exchange_may_watch_events(
    admin: RabbitBroker, rabbitmq_vhost: Vhost
) -> None:
    management, vhost = Management(rabbitmq_vhost.admin_url), rabbitmq_vhost.name
    management.put("queues", vhost, "watching", content={"durable": True})
    management.put("exchanges", vhost, "copies", content={"type": "topic"})
    for kind, name in (("q", "watching"), ("e", "copies")):
        path = ("bindings", vhost, "e", "events", kind, name)
        management._request("POST", path, {"routing_key": "#"})
    before = bindings_of(rabbitmq_vhost)

    assert admin.check(TOPOLOGY) == []
    admin.set_up(TOPOLOGY)

    assert bindings_of(rabbitmq_vhost) == before


def test_a_former_services_queue_keeps_its_dead_queue(
    admin: RabbitBroker, rabbitmq_vhost: Vhost
) -> None:
    remaining = replace(TOPOLOGY, queues=(ORDERS,))

    admin.set_up(remaining)

    assert admin.check(remaining) == []
    left = [each[:2] for each in bindings_of(rabbitmq_vhost) if each[1].startswith("email")]
    assert left == [("", "email"), ("", "email.dead"), ("dead-letters", "email.dead")]
