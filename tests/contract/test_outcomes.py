"""What every broker does for each outcome of a delivery."""

import pytest

from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import Consumer, Delivery, Outcome
from shared.messaging.ports.publisher import Message
from tests.contract.brokers import (
    BrokerUnderTest,
    consumer_after_slow_start,
    order_placed,
    receive,
    send,
    settle_all,
)


def test_a_done_message_is_not_delivered_again(target: BrokerUnderTest, broker: Broker) -> None:
    send(broker, order_placed())
    consumer = broker.consumer("inventory", prefetch=10)

    settle_all(consumer, receive(consumer), Outcome.DONE)

    assert consumer.take(10, wait=target.timing.quiet_time) == []
    consumer.close()
    assert broker.consumer("inventory", prefetch=10).take(10, wait=target.timing.quiet_time) == []


def test_each_failure_is_counted_and_delays_longer_up_to_the_maximum(
    target: BrokerUnderTest,
) -> None:
    broker = target.set_up(max_retries=20)
    send(broker, order_placed())
    consumer = broker.consumer("inventory", prefetch=10)
    delay, max_delay = target.timing.delay, target.timing.max_delay
    [delivery] = receive(consumer)

    for failures, expected in enumerate([delay, 2 * delay, max_delay, max_delay], start=1):
        settle_all(consumer, [delivery], Outcome.RETRY)
        delivery, waited = target.wait_for_retry(consumer)

        assert delivery.attempt == failures + 1
        assert expected * 0.9 <= waited <= expected + target.timing.tolerance


def test_later_messages_are_delivered_before_a_delayed_one(
    target: BrokerUnderTest, broker: Broker
) -> None:
    failing, later = order_placed(), order_placed()
    send(broker, failing)
    consumer = broker.consumer("inventory", prefetch=10)
    settle_all(consumer, receive(consumer), Outcome.RETRY)

    send(broker, later)

    [first] = receive(consumer)
    assert (first.body, first.attempt) == (later.body, 1)
    settle_all(consumer, [first], Outcome.DONE)
    second, _ = target.wait_for_retry(consumer)
    assert (second.body, second.attempt) == (failing.body, 2)


def test_a_failure_in_one_queue_delays_no_other_queue(broker: Broker) -> None:
    send(broker, order_placed())
    consumer = broker.consumer("inventory", prefetch=10)

    settle_all(consumer, receive(consumer), Outcome.RETRY)

    assert receive(broker.consumer("email", prefetch=10))[0].attempt == 1


def test_a_message_past_its_limit_is_dead_and_unchanged(
    target: BrokerUnderTest, broker: Broker
) -> None:
    message = order_placed()
    send(broker, message)
    consumer = broker.consumer("inventory", prefetch=10)
    [delivery] = receive(consumer)

    for attempt in (1, 2, 3):  # two retries allow three attempts
        assert delivery.attempt == attempt
        settle_all(consumer, [delivery], Outcome.RETRY)
        if attempt < 3:
            delivery, _ = target.wait_for_retry(consumer)

    _is_dead(broker, message)
    assert consumer.take(10, wait=target.timing.quiet_time) == []


def test_a_permanent_failure_is_dead_at_once_and_the_others_are_delivered(broker: Broker) -> None:
    failing, other = order_placed(), order_placed()
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=10)
    send(broker, failing, other)
    by_body = {each.body: each for each in receive(consumer, 2)}

    consumer.settle([(by_body[failing.body], Outcome.DEAD), (by_body[other.body], Outcome.REQUEUE)])

    _is_dead(broker, failing)
    assert receive(consumer)[0].body == other.body


def test_a_requeued_message_is_delivered_at_once_and_uncounted(broker: Broker) -> None:
    send(broker, order_placed())
    consumer = broker.consumer("inventory", prefetch=10)

    for _ in range(25):  # far above the limit
        [delivery] = receive(consumer)
        assert delivery.attempt == 1
        settle_all(consumer, [delivery], Outcome.REQUEUE)

    assert receive(consumer)[0].attempt == 1


def test_requeueing_keeps_the_count_of_failures(target: BrokerUnderTest, broker: Broker) -> None:
    send(broker, order_placed())
    consumer = broker.consumer("inventory", prefetch=10)
    settle_all(consumer, receive(consumer), Outcome.RETRY)
    delivery, _ = target.wait_for_retry(consumer)

    settle_all(consumer, [delivery], Outcome.REQUEUE)

    assert receive(consumer)[0].attempt == 2


def test_one_settle_call_may_have_different_outcomes(
    target: BrokerUnderTest, broker: Broker
) -> None:
    done, failed, dead, requeued = (order_placed() for _ in range(4))
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=10)
    send(broker, done, failed, dead, requeued)
    by_body = {each.body: each for each in receive(consumer, 4)}

    consumer.settle(
        [
            (by_body[done.body], Outcome.DONE),
            (by_body[failed.body], Outcome.RETRY),
            (by_body[dead.body], Outcome.DEAD),
            (by_body[requeued.body], Outcome.REQUEUE),
        ]
    )

    [again] = receive(consumer)
    assert (again.body, again.attempt) == (requeued.body, 1)
    settle_all(consumer, [again], Outcome.DONE)
    late, _ = target.wait_for_retry(consumer)
    assert (late.body, late.attempt) == (failed.body, 2)
    _is_dead(broker, dead)


def test_browsing_a_dead_letter_thirty_times_changes_nothing(broker: Broker) -> None:
    message = order_placed()
    send(broker, message)
    consumer = broker.consumer("inventory", prefetch=10)
    settle_all(consumer, receive(consumer), Outcome.DEAD)
    deliveries: list[Delivery] = []

    for _ in range(6):
        browsing = broker.consumer("inventory.dead", prefetch=10)
        deliveries += [_browse(browsing) for _ in range(4)]
        deliveries += receive(browsing)
        browsing.close()  # requeues it

    assert len(deliveries) == 30
    assert {(each.body, each.event_id, each.attempt) for each in deliveries} == {
        (message.body, message.event_id, deliveries[0].attempt)
    }
    _is_dead(broker, message)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_settling_after_close_changes_nothing(
    target: BrokerUnderTest, broker: Broker, outcome: Outcome
) -> None:
    send(broker, order_placed())
    first = broker.consumer("inventory", prefetch=10)
    stale = receive(first)
    first.close()

    first.settle([(each, outcome) for each in stale])

    second = broker.consumer("inventory", prefetch=10)
    assert receive(second)[0].attempt == 1
    assert second.take(10, wait=target.timing.quiet_time) == []


def _browse(consumer: Consumer) -> Delivery:
    [delivery] = receive(consumer)
    settle_all(consumer, [delivery], Outcome.REQUEUE)
    return delivery


def _is_dead(broker: Broker, message: Message) -> None:
    consumer = broker.consumer("inventory.dead", prefetch=10)
    [dead] = receive(consumer)
    consumer.close()
    assert (dead.body, dead.event_id, dead.type) == (message.body, message.event_id, message.type)
    assert dead.queue == "inventory.dead"
