"""Known problems of RabbitMQ; each test fails without its workaround."""

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pika
import pytest

from shared.errors import BrokerUnavailable
from shared.messaging.ports.consumer import Consumer, Delivery, Outcome
from shared.messaging.rabbitmq import RabbitBroker, grant, publisher
from shared.messaging.rabbitmq.management import Management
from shared.messaging.topology import Queue, Retry, Topology, dead_queue
from shared.operations.doctor import check
from shared.operations.findings import Finding
from shared.runtime.settings import settings_for, settings_override
from tests.chaos import servers
from tests.containers import Vhost, need_docker
from tests.contract.brokers import (
    consumer_after_slow_start,
    order_placed,
    receive,
    send,
    settle_all,
)
from tests.support.waiting import eventually

DELAY = 12.0
"""Seconds; longer than a broker takes to restart."""


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
    """A broker that a test may kill."""
    need_docker()
    with servers.rabbitmq() as server:
        yield server


@pytest.fixture
def killable(server: servers.ServerContainer) -> Iterator[RabbitBroker]:
    url = servers.amqp_url(server.ports[5672])
    broker = RabbitBroker(url, admin_url=servers.admin_url(server))
    assert broker.set_up(topology(Retry(delay=DELAY, max_delay=DELAY))) == []
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        for queue in ("email", dead_queue("email")):  # what a test before has left
            connection.channel().queue_purge(queue)
    yield broker
    broker.close()


def test_a_queue_without_its_policy_still_keeps_its_dead_letters(
    broker: RabbitBroker, rabbitmq_vhost: Vhost
) -> None:
    # The deletion of a policy takes effect after some seconds.
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
def test_a_delayed_message_stays_delayed_when_the_broker_is_killed(
    server: servers.ServerContainer, killable: RabbitBroker
) -> None:
    send(killable, message := order_placed())
    consumer = killable.consumer("email", prefetch=1)
    settle_all(consumer, receive(consumer), Outcome.RETRY)
    failed_at = time.monotonic()
    eventually(lambda: _delayed(server) == 1)

    server.kill()
    server.start()
    eventually(lambda: servers.broker_answers(server), within=servers.BOOT_SECONDS)

    again = _next(consumer)
    assert [(delivery.body, delivery.attempt) for delivery in again] == [(message.body, 2)]
    assert time.monotonic() - failed_at >= DELAY * 0.9
    settle_all(consumer, again, Outcome.DONE)


@pytest.mark.docker
def test_an_alarm_and_the_connections_that_it_blocks_are_shortages(
    server: servers.ServerContainer, killable: RabbitBroker
) -> None:
    watermark = ("rabbitmqctl", "set_vm_memory_high_watermark")
    publisher = killable.publisher()
    assert publisher.publish([order_placed()]) == [None]
    assert killable.shortages() == []

    server.run(*watermark, "absolute", "1MB")
    try:
        eventually(lambda: len(killable.shortages()) == 2)
        alarm, blocked = killable.shortages()
    finally:
        server.run(*watermark, "0.6")

    assert re.match("the memory alarm of the node rabbit@.* stands", alarm)
    assert blocked == ("the broker blocks 1 connection of chaos: remove the cause of its alarm")
    eventually(lambda: killable.shortages() == [])
    server.run("rabbitmqctl", "set_disk_free_limit", "1000GB")
    try:
        eventually(lambda: len(killable.shortages()) == 2)
        alarm, _ = killable.shortages()
    finally:
        server.run("rabbitmqctl", "set_disk_free_limit", "50MB")
    assert re.match("the disk alarm of the node .*: free space on the broker's disk", alarm)
    publisher.close()


@pytest.mark.docker
@pytest.mark.usefixtures("killable")
def test_the_doctor_tells_the_operator_of_an_alarm_and_of_disk_space_near_the_limit(
    server: servers.ServerContainer,
) -> None:
    admin_url, url = servers.admin_url(server), servers.amqp_url(server.ports[5672])
    grant(admin_url, topology(), {"operator": servers.PASSWORD}, operator="operator")
    [node] = Management(admin_url).get("nodes")
    limit = ("rabbitmqctl", "set_disk_free_limit")
    settings = {"broker_url": url, "broker_admin_url": admin_url}
    as_operator = {name: each.replace("chaos:", "operator:") for name, each in settings.items()}

    with settings_override(**as_operator):
        eventually(lambda: not resources().is_wrong)
        try:
            server.run(*limit, str(node["disk_free"] * 2 // 3))
            eventually(lambda: "MB of disk left, and at" in resources().message)
            assert resources().is_wrong
            server.run(*limit, "1000GB")
            eventually(lambda: "the disk alarm of the node" in resources().message)
            assert resources().is_wrong
        finally:
            server.run(*limit, "50MB")
        eventually(lambda: not resources().is_wrong)


def resources() -> Finding:
    """What the doctor finds with the settings of this process."""
    findings = check([], [], operator=settings_for())
    return next(each for each in findings if each.subject == "broker's resources")


@pytest.mark.docker
def test_a_dead_letter_without_a_queue_is_kept_until_the_queue_is_declared_again(
    server: servers.ServerContainer, killable: RabbitBroker
) -> None:
    management = Management(servers.admin_url(server))
    management.delete("queues", "/", "email.dead")
    send(killable, message := order_placed())
    consumer = killable.consumer("email", prefetch=1)
    settle_all(consumer, receive(consumer), Outcome.DEAD)
    eventually(lambda: management.get("queues", "/", "email").get("messages_dlx") == 1)

    killable.set_up(topology())

    dead = _next(killable.consumer("email.dead", prefetch=1))
    assert [delivery.body for delivery in dead] == [message.body]


def test_a_settlement_after_the_broker_cancelled_the_consumer_is_ignored(
    broker: RabbitBroker, rabbitmq_vhost: Vhost
) -> None:
    """As after a consumer timeout: channel and connection stay open."""
    send(broker, order_placed())
    consumer = broker.consumer("email", prefetch=1)
    before = receive(consumer)

    Management(rabbitmq_vhost.admin_url).delete("queues", rabbitmq_vhost.name, "email")
    eventually(lambda: not consumer.is_consuming)
    assert broker.set_up(topology()) == []
    settle_all(consumer, before, Outcome.DEAD)

    send(broker, message := order_placed())
    eventually(lambda: consumer.is_consuming, within=40)
    [taken] = receive(consumer)
    assert (taken.body, taken.attempt) == (message.body, 1)
    assert broker.consumer("email.dead", prefetch=1).take(1, wait=1) == []


def test_a_consumer_that_timed_out_continues_and_counts_no_attempt(
    rabbitmq_vhost: Vhost,
) -> None:
    """The broker requeues the delivery that was held too long; later ones have not timed out."""
    short = replace(topology().queues[0], deadline=-29.5)  # a timeout of one second
    broker = RabbitBroker(rabbitmq_vhost.amqp_url, admin_url=rabbitmq_vhost.admin_url)
    assert broker.set_up(Topology(queues=(short,))) == []
    messages = [order_placed() for _ in range(3)]
    consumer = consumer_after_slow_start(broker, "email", prefetch=3)
    send(broker, messages[0])
    before = receive(consumer)
    threading.Event().wait(0.5)
    send(broker, *messages[1:])
    before += receive(consumer, 2)

    eventually(lambda: not consumer.is_consuming)
    settle_all(consumer, before, Outcome.DEAD)

    after = receive(consumer, 3)
    assert {(delivery.body, delivery.attempt) for delivery in after} == {
        (message.body, 1) for message in messages
    }
    assert broker.depth("email.dead").ready == 0
    broker.close()


def test_a_dead_letter_survives_many_failed_listings(broker: RabbitBroker) -> None:
    """By default a queue drops a message after 21 failures, and a killed process counts as one."""
    send(broker, message := order_placed())
    consumer = broker.consumer("email", prefetch=1)
    settle_all(consumer, receive(consumer), Outcome.DEAD)
    listing = broker.consumer("email.dead", prefetch=1, slow_start=False)

    for _ in range(25):
        settle_all(listing, receive(listing), Outcome.RETRY)

    assert receive(listing)[0].body == message.body


@pytest.mark.docker
def test_a_memory_alarm_fails_publishing_and_stops_no_consumer(
    server: servers.ServerContainer, killable: RabbitBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_UNAVAILABLE_TIMEOUT", 0.5)
    send(killable, order_placed(), order_placed())
    sending, consumer = killable.publisher(), killable.consumer("email", prefetch=1)
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
def test_a_message_above_the_brokers_own_limit_is_rejected_alone(
    server: servers.ServerContainer, killable: RabbitBroker
) -> None:
    """It closes the channel, and the outcome of all unconfirmed messages becomes unknown."""
    batch = [order_placed() for _ in range(9)]
    batch[4] = order_placed(body=b"x" * 2000)
    server.run("rabbitmqctl", "eval", "persistent_term:put(max_message_size, 1000).")

    try:
        reasons = killable.publisher().publish(batch)
    finally:
        server.run("rabbitmqctl", "eval", f"persistent_term:put(max_message_size, {16 * 1024**2}).")

    assert "larger than" in str(reasons.pop(4))
    assert reasons == [None] * 8


def _next(consumer: Consumer) -> list[Delivery]:
    """The next delivery, also after a delay and a reconnection."""
    deadline = time.monotonic() + 60
    while not (taken := consumer.take(1, wait=0.5)):
        assert time.monotonic() < deadline, "no delivery in time"
    return taken


def _delayed(server: servers.ServerContainer) -> int:
    queue = Management(servers.admin_url(server)).get("queues", "/", "email") or {}
    return int(queue.get("messages_delayed", 0))
