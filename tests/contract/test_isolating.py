"""How every broker isolates one delivery and requeues the others."""

from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import SLOW_START_AFTER, Outcome
from tests.contract.brokers import (
    BrokerUnderTest,
    consumer_after_slow_start,
    order_placed,
    receive,
    send,
    settle_all,
)


def test_isolating_requeues_the_others_uncounted(target: BrokerUnderTest, broker: Broker) -> None:
    messages = [order_placed() for _ in range(5)]
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=10)
    send(broker, *messages)
    alone, *others = receive(consumer, 5)

    consumer.isolate(alone)

    assert consumer.take(10, wait=target.timing.quiet_time) == []
    settle_all(consumer, [alone], Outcome.DONE)
    again = []
    for _ in others:
        (one,) = receive(consumer)
        settle_all(consumer, [one], Outcome.DONE)
        again.append(one)
    assert sorted(each.body for each in again) == sorted(each.body for each in others)
    assert {each.attempt for each in again} == {1}


def test_slow_start_begins_again_after_isolating(broker: Broker) -> None:
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=10)
    send(broker, *[order_placed() for _ in range(SLOW_START_AFTER + 5)])
    (alone, *_) = receive(consumer, 3)

    consumer.isolate(alone)

    settle_all(consumer, [alone], Outcome.DONE)
    for _ in range(SLOW_START_AFTER - 1):
        settle_all(consumer, receive(consumer), Outcome.DONE)
    assert len(receive(consumer, 4)) == 4
