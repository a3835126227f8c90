"""What becomes of all others when one delivery is to be held alone."""

from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import SLOW_START_AFTER, Outcome
from tests.contract.places import (
    Place,
    order_placed,
    proven_consumer,
    receive,
    send,
    settle_all,
)


def test_the_others_are_handed_back_uncounted(place: Place, broker: Broker) -> None:
    messages = [order_placed() for _ in range(5)]
    consumer = proven_consumer(broker, "inventory", prefetch=10)
    send(broker, *messages)
    alone, *others = receive(consumer, 5)

    consumer.isolate(alone)

    assert consumer.take(10, wait=place.traits.silence) == []
    settle_all(consumer, [alone], Outcome.DONE)
    again = []
    for _ in others:
        (one,) = receive(consumer)
        settle_all(consumer, [one], Outcome.DONE)
        again.append(one)
    assert sorted(each.body for each in again) == sorted(each.body for each in others)
    assert {each.attempt for each in again} == {1}


def test_afterwards_it_must_prove_itself_again(broker: Broker) -> None:
    consumer = proven_consumer(broker, "inventory", prefetch=10)
    send(broker, *[order_placed() for _ in range(SLOW_START_AFTER + 5)])
    (alone, *_) = receive(consumer, 3)

    consumer.isolate(alone)

    settle_all(consumer, [alone], Outcome.DONE)
    for _ in range(SLOW_START_AFTER - 1):
        settle_all(consumer, receive(consumer), Outcome.DONE)
    assert len(receive(consumer, 4)) == 4
