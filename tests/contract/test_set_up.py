"""How every broker is made as the topology says, checked and probed."""

import time
from dataclasses import replace

import pytest

from shared.errors import BrokerUnavailable
from shared.messaging.ports.broker import Broker
from shared.messaging.topology import Queue, Topology
from tests.contract.places import PATIENCE, Place, order_placed, proven_consumer, receive, send


def test_setting_up_again_changes_nothing(place: Place, broker: Broker) -> None:
    message = order_placed()
    send(broker, message)

    assert broker.set_up(place.topology()) == []

    assert _complaints(broker, place.topology()) == []
    assert receive(broker.consumer("inventory", prefetch=1))[0].body == message.body


def test_check_tells_each_queue_that_is_missing(place: Place, broker: Broker) -> None:
    topology = place.topology()
    wanted = replace(
        topology, queues=(*topology.queues, Queue(name="loyalty", topics=frozenset({"order.*"})))
    )

    complaints = broker.check(wanted)

    assert any("loyalty" in each for each in complaints)
    assert not any("inventory" in each for each in complaints)


def test_a_topic_that_is_no_longer_subscribed_is_not_delivered(
    place: Place, broker: Broker
) -> None:
    topology = place.topology()
    fewer = tuple(
        replace(each, topics=frozenset({"order.cancelled"})) if each.name == "inventory" else each
        for each in topology.queues
    )

    broker.set_up(replace(topology, queues=fewer))

    send(broker, order_placed("order.placed"), order_placed("order.cancelled"))
    consumer = broker.consumer("inventory", prefetch=10)
    assert receive(consumer)[0].type == "order.cancelled.v1"
    assert consumer.take(10, wait=place.traits.silence) == []


def test_a_service_that_is_no_more_keeps_its_queue_and_gets_nothing_new(
    place: Place, broker: Broker
) -> None:
    topology = place.topology()
    message = order_placed()
    send(broker, message)
    left = tuple(each for each in topology.queues if each.name != "inventory")

    broker.set_up(replace(topology, queues=left))

    send(broker, order_placed())
    assert _complaints(broker, replace(topology, queues=left)) == []
    consumer = broker.consumer("inventory", prefetch=10)
    assert [each.body for each in receive(consumer)] == [message.body]
    assert consumer.take(10, wait=place.traits.silence) == []


def test_a_service_binds_its_own_queue(place: Place, broker: Broker) -> None:
    inventory = next(each for each in place.topology().queues if each.name == "inventory")
    consumer = proven_consumer(broker, "inventory", prefetch=10)

    broker.bind(replace(inventory, topics=inventory.topics | {"stock.counted"}))

    send(broker, order_placed("stock.counted"), order_placed("order.placed"))
    taken = receive(consumer, 2)
    assert {each.type for each in taken} == {"stock.counted.v1", "order.placed.v1"}


def test_binding_a_queue_that_was_not_set_up_says_what_to_do(broker: Broker) -> None:
    with pytest.raises(BrokerUnavailable, match="shop setup"):
        broker.bind(Queue(name="nobody", topics=frozenset({"order.placed"})))


def test_publishing_before_set_up_loses_nothing_in_silence(place: Place) -> None:
    with pytest.raises(BrokerUnavailable, match="shop setup"):
        place.connect().publisher().publish([order_placed()])


def test_probing_tells_name_and_version(broker: Broker) -> None:
    assert any(character.isdigit() for character in broker.probe())


def _complaints(broker: Broker, topology: Topology) -> list[str]:
    """What is wrong once statistics have had time to settle."""
    deadline = time.monotonic() + PATIENCE
    while (complaints := broker.check(topology)) and time.monotonic() < deadline:
        pass
    return complaints
