"""How every broker is set up, checked, bound and probed."""

import time
from dataclasses import replace

import pytest

from shared.errors import BrokerUnavailable
from shared.messaging.ports.broker import Broker
from shared.messaging.topology import Queue, Topology
from tests.contract.brokers import (
    TIMEOUT,
    BrokerUnderTest,
    consumer_after_slow_start,
    order_placed,
    receive,
    send,
)


def test_a_second_set_up_changes_nothing(target: BrokerUnderTest, broker: Broker) -> None:
    message = order_placed()
    send(broker, message)

    assert broker.set_up(target.topology()) == []

    assert _problems(broker, target.topology()) == []
    assert receive(broker.consumer("inventory", prefetch=1))[0].body == message.body


def test_check_names_each_missing_queue(target: BrokerUnderTest, broker: Broker) -> None:
    topology = target.topology()
    larger = replace(
        topology, queues=(*topology.queues, Queue(name="loyalty", topics=frozenset({"order.*"})))
    )

    problems = broker.check(larger)

    assert any("loyalty" in each for each in problems)
    assert not any("inventory" in each for each in problems)


def test_a_topic_that_is_no_longer_bound_is_not_delivered(
    target: BrokerUnderTest, broker: Broker
) -> None:
    topology = target.topology()
    fewer = tuple(
        replace(each, topics=frozenset({"order.cancelled"})) if each.name == "inventory" else each
        for each in topology.queues
    )

    broker.set_up(replace(topology, queues=fewer))

    send(broker, order_placed("order.placed"), order_placed("order.cancelled"))
    consumer = broker.consumer("inventory", prefetch=10)
    assert receive(consumer)[0].type == "order.cancelled.v1"
    assert consumer.take(10, wait=target.timing.quiet_time) == []


def test_a_removed_service_keeps_its_queue_and_gets_nothing_new(
    target: BrokerUnderTest, broker: Broker
) -> None:
    topology = target.topology()
    message = order_placed()
    send(broker, message)
    remaining = tuple(each for each in topology.queues if each.name != "inventory")

    broker.set_up(replace(topology, queues=remaining))

    send(broker, order_placed())
    assert _problems(broker, replace(topology, queues=remaining)) == []
    consumer = broker.consumer("inventory", prefetch=10)
    assert [each.body for each in receive(consumer)] == [message.body]
    assert consumer.take(10, wait=target.timing.quiet_time) == []


def test_a_service_binds_its_own_queue(target: BrokerUnderTest, broker: Broker) -> None:
    inventory = next(each for each in target.topology().queues if each.name == "inventory")
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=10)

    broker.bind(replace(inventory, topics=inventory.topics | {"stock.counted"}))

    send(broker, order_placed("stock.counted"), order_placed("order.placed"))
    taken = receive(consumer, 2)
    assert {each.type for each in taken} == {"stock.counted.v1", "order.placed.v1"}


def test_binding_a_missing_queue_names_the_command_that_sets_it_up(broker: Broker) -> None:
    with pytest.raises(BrokerUnavailable, match="shop setup"):
        broker.bind(Queue(name="nobody", topics=frozenset({"order.placed"})))


def test_publishing_before_set_up_is_an_error(target: BrokerUnderTest) -> None:
    with pytest.raises(BrokerUnavailable, match="shop setup"):
        target.connect().publisher().publish([order_placed()])


def test_probe_returns_name_and_version(broker: Broker) -> None:
    assert any(character.isdigit() for character in broker.probe())


def _problems(broker: Broker, topology: Topology) -> list[str]:
    """The result of `check` once it is empty, or after the timeout: statistics are delayed."""
    deadline = time.monotonic() + TIMEOUT
    while (problems := broker.check(topology)) and time.monotonic() < deadline:
        pass
    return problems
