"""How every broker shares out messages, and what it does when a consumer goes away."""

import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from shared.errors import BrokerUnavailable
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import SLOW_START_AFTER, Consumer, Delivery, Outcome
from tests.contract.places import (
    PATIENCE,
    Place,
    order_placed,
    proven_consumer,
    proven_consumers,
    receive,
    send,
    settle_all,
)


def test_competing_consumers_get_different_messages(broker: Broker) -> None:
    messages = [order_placed() for _ in range(10)]
    first, second = proven_consumers(2, broker, "inventory", prefetch=5)

    send(broker, *messages)

    bodies = [each.body for each in receive(first, 5) + receive(second, 5)]
    assert sorted(bodies) == sorted(each.body for each in messages)


def test_no_more_is_delivered_than_the_prefetch_until_some_is_settled(
    place: Place, broker: Broker
) -> None:
    consumer = proven_consumer(broker, "inventory", prefetch=5)
    send(broker, *[order_placed() for _ in range(12)])
    taken = receive(consumer, 5)
    assert consumer.take(10, wait=place.traits.silence) == []

    settle_all(consumer, taken[:2], Outcome.DONE)

    receive(consumer, 2)
    assert consumer.take(10, wait=place.traits.silence) == []


def test_no_more_is_taken_than_was_asked_for(broker: Broker) -> None:
    consumer = proven_consumer(broker, "inventory", prefetch=10)
    send(broker, *[order_placed() for _ in range(5)])

    receive(consumer)

    assert len(consumer.take(2, wait=PATIENCE)) <= 2


def test_a_new_consumer_holds_one_at_a_time_until_it_has_proven_itself(
    place: Place, broker: Broker
) -> None:
    send(broker, *[order_placed() for _ in range(SLOW_START_AFTER + 2)])
    consumer = broker.consumer("inventory", prefetch=2)

    for _ in range(SLOW_START_AFTER):
        taken = receive(consumer)
        assert consumer.take(10, wait=place.traits.silence) == []
        settle_all(consumer, taken, Outcome.DONE)

    assert len(receive(consumer, 2)) == 2


def test_what_was_not_settled_is_handed_back_uncounted_by_closing(broker: Broker) -> None:
    messages = [order_placed() for _ in range(6)]
    consumer = proven_consumer(broker, "inventory", prefetch=6)
    send(broker, *messages)
    receive(consumer, 3)  # the other three may have been delivered and not taken

    consumer.close()

    successor = broker.consumer("inventory", prefetch=10)
    again = []
    for _ in range(6):
        [taken] = receive(successor)
        again.append(taken)
        settle_all(successor, [taken], Outcome.DONE)
    assert sorted(each.body for each in again) == sorted(each.body for each in messages)
    assert {each.attempt for each in again} == {1}


def test_what_a_killed_process_held_comes_back_as_a_failed_attempt(
    place: Place, broker: Broker
) -> None:
    send(broker, *[order_placed() for _ in range(SLOW_START_AFTER + 3)])

    with place.process_holding(3, queue="inventory") as process:
        consumer = broker.consumer("inventory", prefetch=10)
        assert consumer.take(10, wait=place.traits.silence) == []
        process.kill()
        process.wait(PATIENCE)

    taken = _take_while_time_passes(place, consumer, 3)
    assert {each.attempt for each in taken} == {2}


def test_a_message_that_kills_every_process_is_dead_in_the_end(place: Place) -> None:
    broker = place.broker(limit=0)
    message = order_placed()
    send(broker, message)

    with place.process_holding(1, queue="inventory") as process:
        process.kill()
        process.wait(PATIENCE)

    consumer = broker.consumer("inventory", prefetch=10)
    dead = broker.consumer("inventory.dead", prefetch=10)
    taken: list[Delivery] = []
    deadline = time.monotonic() + PATIENCE
    while not taken and time.monotonic() < deadline:
        assert consumer.take(10, wait=0.2) == []
        taken = dead.take(10, wait=0.2)
    assert [each.body for each in taken] == [message.body]


def test_a_message_published_while_one_waits_is_taken_at_once(broker: Broker) -> None:
    consumer = broker.consumer("inventory", prefetch=10)

    with ThreadPoolExecutor() as threads:
        taking = threads.submit(consumer.take, 10, wait=PATIENCE)
        _until_consuming(consumer)
        send(broker, order_placed())

        assert len(taking.result(PATIENCE / 2)) == 1


def test_wake_makes_a_waiting_take_answer(broker: Broker) -> None:
    consumer = broker.consumer("inventory", prefetch=10)

    with ThreadPoolExecutor() as threads:
        taking = threads.submit(consumer.take, 10, wait=2 * PATIENCE)
        _until_consuming(consumer)
        consumer.wake()

        assert taking.result(PATIENCE) == []


def test_closing_makes_a_waiting_take_answer(broker: Broker) -> None:
    consumer = broker.consumer("inventory", prefetch=10)

    with ThreadPoolExecutor() as threads:
        taking: Future[list[Delivery]] = threads.submit(consumer.take, 10, wait=2 * PATIENCE)
        _until_consuming(consumer)
        consumer.close()

        assert taking.result(PATIENCE) == []
    assert not consumer.is_consuming


def test_closing_twice_is_closing_once(broker: Broker) -> None:
    consumer, publisher = broker.consumer("inventory", prefetch=10), broker.publisher()
    consumer.take(1, wait=0)
    publisher.publish([order_placed()])

    for _ in range(2):
        consumer.close()
        publisher.close()
        broker.close()

    assert not consumer.is_consuming


def test_a_queue_that_is_not_there_is_told_by_name(broker: Broker) -> None:
    with pytest.raises(BrokerUnavailable, match="nobody"):
        broker.consumer("nobody", prefetch=1).take(1, wait=PATIENCE)


def _until_consuming(consumer: Consumer) -> None:
    deadline = time.monotonic() + PATIENCE
    while not consumer.is_consuming:
        assert time.monotonic() < deadline, "it never began to consume"


def _take_while_time_passes(place: Place, consumer: Consumer, count: int) -> list[Delivery]:
    taken: list[Delivery] = []
    deadline = time.monotonic() + PATIENCE
    while len(taken) < count:
        assert time.monotonic() < deadline, f"{len(taken)} of {count} came"
        fresh = consumer.take(count, wait=0.2)
        settle_all(consumer, fresh, Outcome.DONE)
        taken += fresh
        if place.clock is not None:
            place.clock.added += place.traits.step
    return taken
