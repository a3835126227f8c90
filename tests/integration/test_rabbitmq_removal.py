"""Removing a service from RabbitMQ."""

import pytest

from shared.errors import InvalidInput
from shared.messaging.rabbitmq.broker import RabbitBroker
from shared.messaging.rabbitmq.management import Management
from shared.messaging.rabbitmq.permissions import grant
from shared.messaging.topology import History, Queue, Retry, Topology
from tests.containers import Vhost

pytestmark = pytest.mark.docker

GONE = Queue(name="gone", topics=frozenset({"order.placed"}), retry=Retry(), deadline=60)


def test_nothing_of_the_service_is_left(rabbitmq_vhost: Vhost) -> None:
    topology = Topology(queues=(GONE,), has_users=True, history=History())
    broker = RabbitBroker(rabbitmq_vhost.amqp_url, admin_url=rabbitmq_vhost.admin_url)
    management = Management(rabbitmq_vhost.admin_url)
    assert broker.set_up(topology) == []
    grant(rabbitmq_vhost.admin_url, topology, {"gone": "secret"}, vhost=rabbitmq_vhost.name)
    assert management.get("users", "gone") is not None
    assert broker.size("gone") == broker.consumers("gone") == 0

    for _ in range(2):  # again changes nothing
        broker.remove("gone", has_user=True)

    vhost = rabbitmq_vhost.name
    assert [each["name"] for each in management.get("queues", vhost)] == ["history"]
    assert management.get("policies", vhost, "shop-gone") is None
    assert {each["destination"] for each in management.get("bindings", vhost)} == {"history"}
    assert management.get("users", "gone") is None
    assert broker.size("gone") == broker.consumers("gone") == 0
    broker.close()


def test_a_queue_that_is_not_a_services_is_not_removed(rabbitmq_vhost: Vhost) -> None:
    broker = RabbitBroker(rabbitmq_vhost.amqp_url, admin_url=rabbitmq_vhost.admin_url)
    broker.set_up(Topology(queues=(GONE,), has_users=False, history=History()))

    with pytest.raises(InvalidInput, match="is not the queue of a service"):
        broker.remove("history", has_user=False)

    broker.close()
