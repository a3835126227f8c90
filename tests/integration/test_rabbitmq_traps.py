"""What is known to go wrong with RabbitMQ and pika; each test fails without its remedy."""

import socket
import time
from collections.abc import Iterator

import pytest

from shared.errors import BrokerRefused, BrokerUnavailable
from shared.messaging.port import Consumer, Delivery, Outcome
from shared.messaging.rabbitmq import RabbitBroker
from shared.messaging.rabbitmq.address import parse
from shared.messaging.rabbitmq.management import Management
from shared.messaging.rabbitmq.session import talking_to
from shared.messaging.topology import Queue, Retry, Topology
from tests.chaos import servers
from tests.containers import Vhost, need_docker
from tests.contract.places import order_placed, receive, send, settle_all
from tests.support.waiting import eventually

DELAY = 12.0
"""Seconds: longer than a broker takes to start again."""


def topology(retry: Retry | None = None) -> Topology:
    queue = Queue(name="email", topics=frozenset({"order.placed"}), retry=retry or Retry(step=0.1))
    return Topology(queues=(queue,))


@pytest.fixture
def broker(rabbitmq_vhost: Vhost) -> Iterator[RabbitBroker]:
    broker = RabbitBroker(rabbitmq_vhost.amqp_url, admin_url=rabbitmq_vhost.admin_url)
    assert broker.set_up(topology()) == []
    yield broker
    broker.close()


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Server]:
    """A broker that may be killed."""
    need_docker()
    with servers.rabbitmq() as server:
        yield server


@pytest.fixture
def mortal(server: servers.Server) -> Iterator[RabbitBroker]:
    url = servers.amqp_url(server.ports[5672])
    broker = RabbitBroker(url, admin_url=servers.admin_url(server))
    assert broker.set_up(topology(Retry(step=DELAY, longest=DELAY))) == []
    yield broker
    broker.close()


def test_without_its_policy_a_queue_still_keeps_its_dead_letters(
    broker: RabbitBroker, rabbitmq_vhost: Vhost
) -> None:
    # The name of a policy follows its deletion by seconds, so its effect is waited for.
    management = Management(rabbitmq_vhost.admin_url)
    management.delete("policies", rabbitmq_vhost.name, "shop-email")
    eventually(
        lambda: not (management.get("queues", rabbitmq_vhost.name, "email") or {}).get("policy")
    )
    send(broker, message := order_placed())
    consumer = broker.consumer("email", prefetch=1)

    settle_all(consumer, receive(consumer), Outcome.DEAD)

    [dead] = receive(broker.consumer("email.dead", prefetch=1))
    assert dead.body == message.body


@pytest.mark.docker
def test_what_is_delayed_stays_so_when_the_broker_is_killed(
    server: servers.Server, mortal: RabbitBroker
) -> None:
    send(mortal, message := order_placed())
    consumer = mortal.consumer("email", prefetch=1)
    settle_all(consumer, receive(consumer), Outcome.RETRY)
    failed_at = time.monotonic()
    eventually(lambda: _delayed(server) == 1)

    server.kill()
    server.start()
    eventually(lambda: servers.broker_answers(server), within=servers.BOOT_SECONDS)

    again = _patiently(consumer)
    assert [(each.body, each.attempt) for each in again] == [(message.body, 2)]
    assert time.monotonic() - failed_at >= DELAY * 0.9
    settle_all(consumer, again, Outcome.DONE)


@pytest.mark.docker
def test_a_dead_letter_without_its_queue_waits_until_that_is_made_again(
    server: servers.Server, mortal: RabbitBroker
) -> None:
    management = Management(servers.admin_url(server))
    management.delete("queues", "/", "email.dead")
    send(mortal, message := order_placed())
    consumer = mortal.consumer("email", prefetch=1)
    settle_all(consumer, receive(consumer), Outcome.DEAD)
    eventually(lambda: management.get("queues", "/", "email").get("messages_dlx") == 1)

    mortal.set_up(topology())

    found = _patiently(mortal.consumer("email.dead", prefetch=1))
    assert [each.body for each in found] == [message.body]


def test_a_broker_that_says_nothing_is_unavailable_and_no_riddle() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]

        with pytest.raises(BrokerUnavailable, match="does not answer") as raised:
            RabbitBroker(f"amqp://a:b@127.0.0.1:{port}").probe()

    assert not isinstance(raised.value, BrokerRefused)


def test_what_pika_raises_after_a_loss_is_an_unavailable_broker(rabbitmq_vhost: Vhost) -> None:
    """https://github.com/pika/pika/issues/1291."""
    with pytest.raises(BrokerUnavailable), talking_to(parse(rabbitmq_vhost.amqp_url)):
        raise ValueError("Timeout closed before call")


def test_an_outcome_after_the_broker_ended_the_consumer_is_dropped(
    broker: RabbitBroker, rabbitmq_vhost: Vhost
) -> None:
    """As at its timeout: the consumer is cancelled, and channel and connection stay open."""
    send(broker, order_placed())
    consumer = broker.consumer("email", prefetch=1)
    before = receive(consumer)

    Management(rabbitmq_vhost.admin_url).delete("queues", rabbitmq_vhost.name, "email")
    eventually(lambda: not consumer.is_consuming)
    assert broker.set_up(topology()) == []
    settle_all(consumer, before, Outcome.DEAD)

    send(broker, message := order_placed())
    eventually(lambda: consumer.is_consuming, within=40)
    assert [(each.body, each.attempt) for each in receive(consumer)] == [(message.body, 1)]
    assert broker.consumer("email.dead", prefetch=1).take(1, wait=1) == []


def _patiently(consumer: Consumer) -> list[Delivery]:
    """The next delivery, after a delay and a reconnection."""
    until = time.monotonic() + 60
    while not (taken := consumer.take(1, wait=0.5)):
        assert time.monotonic() < until, "it never came"
    return taken


def _delayed(server: servers.Server) -> int:
    found = Management(servers.admin_url(server)).get("queues", "/", "email") or {}
    return int(found.get("messages_delayed", 0))
