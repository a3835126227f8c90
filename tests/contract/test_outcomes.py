"""What every broker does with a delivery when it is told what became of it."""

import pytest

from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import Consumer, Delivery, Outcome
from shared.messaging.ports.publisher import Message
from tests.contract.places import Place, order_placed, proven_consumer, receive, send, settle_all


def test_what_is_done_never_comes_again(place: Place, broker: Broker) -> None:
    send(broker, order_placed())
    consumer = broker.consumer("inventory", prefetch=10)

    settle_all(consumer, receive(consumer), Outcome.DONE)

    assert consumer.take(10, wait=place.traits.silence) == []
    consumer.close()
    assert broker.consumer("inventory", prefetch=10).take(10, wait=place.traits.silence) == []


def test_each_failure_is_counted_and_waits_a_step_longer_up_to_the_longest(place: Place) -> None:
    broker = place.broker(limit=20)
    send(broker, order_placed())
    consumer = broker.consumer("inventory", prefetch=10)
    step, longest = place.traits.step, place.traits.longest
    [delivery] = receive(consumer)

    for failures, expected in enumerate([step, 2 * step, longest, longest], start=1):
        settle_all(consumer, [delivery], Outcome.RETRY)
        delivery, waited = place.wait_out(consumer)

        assert delivery.attempt == failures + 1
        assert expected * 0.9 <= waited <= expected + place.traits.inexact


def test_later_messages_flow_past_a_delayed_one(place: Place, broker: Broker) -> None:
    failing, later = order_placed(), order_placed()
    send(broker, failing)
    consumer = broker.consumer("inventory", prefetch=10)
    settle_all(consumer, receive(consumer), Outcome.RETRY)

    send(broker, later)

    [first] = receive(consumer)
    assert (first.body, first.attempt) == (later.body, 1)
    settle_all(consumer, [first], Outcome.DONE)
    second, _ = place.wait_out(consumer)
    assert (second.body, second.attempt) == (failing.body, 2)


def test_a_failing_queue_delays_no_other(broker: Broker) -> None:
    send(broker, order_placed())
    consumer = broker.consumer("inventory", prefetch=10)

    settle_all(consumer, receive(consumer), Outcome.RETRY)

    assert receive(broker.consumer("email", prefetch=10))[0].attempt == 1


def test_past_the_limit_a_message_is_dead_and_intact(place: Place, broker: Broker) -> None:
    message = order_placed()
    send(broker, message)
    consumer = broker.consumer("inventory", prefetch=10)
    [delivery] = receive(consumer)

    for attempt in (1, 2, 3):  # a limit of 2 allows three
        assert delivery.attempt == attempt
        settle_all(consumer, [delivery], Outcome.RETRY)
        if attempt < 3:
            delivery, _ = place.wait_out(consumer)

    _is_dead(broker, message)
    assert consumer.take(10, wait=place.traits.silence) == []


def test_what_will_never_go_well_is_dead_at_once_and_the_queue_goes_on(broker: Broker) -> None:
    hopeless, good = order_placed(), order_placed()
    consumer = proven_consumer(broker, "inventory", prefetch=10)
    send(broker, hopeless, good)
    by_body = {each.body: each for each in receive(consumer, 2)}

    consumer.settle([(by_body[hopeless.body], Outcome.DEAD), (by_body[good.body], Outcome.REQUEUE)])

    _is_dead(broker, hopeless)
    assert receive(consumer)[0].body == good.body


def test_what_is_handed_back_comes_at_once_and_uncounted_however_often(broker: Broker) -> None:
    send(broker, order_placed())
    consumer = broker.consumer("inventory", prefetch=10)

    for _ in range(25):  # far above the limit
        [delivery] = receive(consumer)
        assert delivery.attempt == 1
        settle_all(consumer, [delivery], Outcome.REQUEUE)

    assert receive(consumer)[0].attempt == 1


def test_handing_back_does_not_forget_the_failures_before(place: Place, broker: Broker) -> None:
    send(broker, order_placed())
    consumer = broker.consumer("inventory", prefetch=10)
    settle_all(consumer, receive(consumer), Outcome.RETRY)
    delivery, _ = place.wait_out(consumer)

    settle_all(consumer, [delivery], Outcome.REQUEUE)

    assert receive(consumer)[0].attempt == 2


def test_outcomes_of_one_call_may_differ(place: Place, broker: Broker) -> None:
    done, failed, dead, back = (order_placed() for _ in range(4))
    consumer = proven_consumer(broker, "inventory", prefetch=10)
    send(broker, done, failed, dead, back)
    by_body = {each.body: each for each in receive(consumer, 4)}

    consumer.settle(
        [
            (by_body[done.body], Outcome.DONE),
            (by_body[failed.body], Outcome.RETRY),
            (by_body[dead.body], Outcome.DEAD),
            (by_body[back.body], Outcome.REQUEUE),
        ]
    )

    [again] = receive(consumer)
    assert (again.body, again.attempt) == (back.body, 1)
    settle_all(consumer, [again], Outcome.DONE)
    late, _ = place.wait_out(consumer)
    assert (late.body, late.attempt) == (failed.body, 2)
    _is_dead(broker, dead)


def test_looking_at_a_dead_letter_thirty_times_changes_nothing(broker: Broker) -> None:
    message = order_placed()
    send(broker, message)
    consumer = broker.consumer("inventory", prefetch=10)
    settle_all(consumer, receive(consumer), Outcome.DEAD)
    looks: list[Delivery] = []

    for _ in range(6):
        looking = broker.consumer("inventory.dead", prefetch=10)
        looks += [_look(looking) for _ in range(4)]
        looks += receive(looking)
        looking.close()  # hands it back

    assert len(looks) == 30
    assert {(each.body, each.event_id, each.attempt) for each in looks} == {
        (message.body, message.event_id, looks[0].attempt)
    }
    _is_dead(broker, message)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_stale_verdict_changes_nothing(place: Place, broker: Broker, outcome: Outcome) -> None:
    send(broker, order_placed())
    first = broker.consumer("inventory", prefetch=10)
    stale = receive(first)
    first.close()

    first.settle([(each, outcome) for each in stale])

    second = broker.consumer("inventory", prefetch=10)
    assert receive(second)[0].attempt == 1
    assert second.take(10, wait=place.traits.silence) == []


def _look(consumer: Consumer) -> Delivery:
    [delivery] = receive(consumer)
    settle_all(consumer, [delivery], Outcome.REQUEUE)
    return delivery


def _is_dead(broker: Broker, message: Message) -> None:
    consumer = broker.consumer("inventory.dead", prefetch=10)
    [dead] = receive(consumer)
    consumer.close()
    assert (dead.body, dead.event_id, dead.type) == (message.body, message.event_id, message.type)
    assert dead.queue == "inventory.dead"
