"""What is known to go wrong with RabbitMQ; each test fails without its remedy."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from shared.errors import BrokerUnavailable
from shared.messaging.ports.consumer import Consumer, Delivery, Outcome
from shared.messaging.rabbitmq import RabbitBroker, publisher
from shared.messaging.rabbitmq.management import Management
from shared.messaging.topology import Queue, Retry, Topology
from tests.chaos import servers
from tests.containers import Vhost, need_docker
from tests.contract.places import order_placed, proven_consumer, receive, send, settle_all
from tests.support.waiting import eventually

DELAY = 12.0
"""Seconds: longer than a broker takes to start again."""


def topology(retry: Retry | None = None) -> Topology:
    queue = Queue(name="email", topics=frozenset({"order.placed"}), retry=retry or Retry(delay=0.1))
    return Topology(queues=(queue,))


@pytest.fixture
def broker(rabbitmq_vhost: Vhost) -> Iterator[RabbitBroker]:
    broker = RabbitBroker(rabbitmq_vhost.amqp_url, admin_url=rabbitmq_vhost.admin_url)
    assert broker.set_up(topology()) == []
    yield broker
    broker.close()


@pytest.fixture(scope="module")
def server() -> Iterator[servers.ServerContainer]:
    """A broker that may be killed."""
    need_docker()
    with servers.rabbitmq() as server:
        yield server


@pytest.fixture
def mortal(server: servers.ServerContainer) -> Iterator[RabbitBroker]:
    url = servers.amqp_url(server.ports[5672])
    broker = RabbitBroker(url, admin_url=servers.admin_url(server))
    assert broker.set_up(topology(Retry(delay=DELAY, max_delay=DELAY))) == []
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
    server: servers.ServerContainer, mortal: RabbitBroker
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
    server: servers.ServerContainer, mortal: RabbitBroker
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


def test_a_consumer_that_timed_out_goes_on_and_no_message_counts_an_attempt(
    rabbitmq_vhost: Vhost,
) -> None:
    """The broker takes back what was held too long; what came later has not timed out."""
    short = replace(topology().queues[0], deadline=-29.5)  # twice that and a minute are a second
    broker = RabbitBroker(rabbitmq_vhost.amqp_url, admin_url=rabbitmq_vhost.admin_url)
    assert broker.set_up(Topology(queues=(short,))) == []
    messages = [order_placed() for _ in range(3)]
    consumer = proven_consumer(broker, "email", prefetch=3)
    send(broker, messages[0])
    before = receive(consumer)
    threading.Event().wait(0.5)
    send(broker, *messages[1:])
    before += receive(consumer, 2)

    eventually(lambda: not consumer.is_consuming)
    settle_all(consumer, before, Outcome.DEAD)

    after = receive(consumer, 3)
    assert {(each.body, each.attempt) for each in after} == {(each.body, 1) for each in messages}
    assert broker.depth("email.dead").ready == 0
    broker.close()


def test_a_dead_letter_outlives_those_who_die_of_looking(broker: RabbitBroker) -> None:
    """By default a queue drops what failed 21 times, and what a killed process held has failed."""
    send(broker, message := order_placed())
    consumer = broker.consumer("email", prefetch=1)
    settle_all(consumer, receive(consumer), Outcome.DEAD)
    looking = broker.consumer("email.dead", prefetch=1, slow_start=False)

    for _ in range(25):
        settle_all(looking, receive(looking), Outcome.RETRY)

    assert receive(looking)[0].body == message.body


@pytest.mark.docker
def test_a_memory_alarm_is_told_to_who_publishes_and_stops_no_consumer(
    server: servers.ServerContainer, mortal: RabbitBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_PATIENCE", 0.5)
    send(mortal, order_placed(), order_placed())
    sending, consumer = mortal.publisher(), mortal.consumer("email", prefetch=1)
    server.run("rabbitmqctl", "set_vm_memory_high_watermark", "0.00001")

    try:
        with pytest.raises(BrokerUnavailable, match="its memory or disk is full"):
            sending.publish([order_placed()])
        for _ in range(2):
            settle_all(consumer, receive(consumer), Outcome.DONE)
    finally:
        server.run("rabbitmqctl", "set_vm_memory_high_watermark", "0.6")

    assert sending.publish([order_placed()]) == [None]


@pytest.mark.docker
def test_what_only_this_broker_finds_too_large_is_set_aside_alone(
    server: servers.ServerContainer, mortal: RabbitBroker
) -> None:
    """It closes the channel, and with it the window of all that is unconfirmed."""
    batch = [order_placed() for _ in range(9)]
    batch[4] = order_placed(body=b"x" * 2000)
    server.run("rabbitmqctl", "eval", "persistent_term:put(max_message_size, 1000).")

    try:
        reasons = mortal.publisher().publish(batch)
    finally:
        server.run("rabbitmqctl", "eval", f"persistent_term:put(max_message_size, {16 * 1024**2}).")

    assert "larger than" in str(reasons.pop(4))
    assert reasons == [None] * 8


def _patiently(consumer: Consumer) -> list[Delivery]:
    """The next delivery, after a delay and a reconnection."""
    until = time.monotonic() + 60
    while not (taken := consumer.take(1, wait=0.5)):
        assert time.monotonic() < until, "it never came"
    return taken


def _delayed(server: servers.ServerContainer) -> int:
    found = Management(servers.admin_url(server)).get("queues", "/", "email") or {}
    return int(found.get("messages_delayed", 0))
