"""What every broker lets a person do with a dead queue."""

import pytest

from shared.errors import BrokerUnavailable
from shared.messaging.ports.broker import Broker, Depth
from shared.messaging.ports.consumer import Outcome
from shared.messaging.ports.publisher import Message
from tests.contract.places import Place, order_placed, receive, send, settle_all
from tests.support.waiting import eventually


def test_depth_tells_what_waits_and_who_takes_it(broker: Broker) -> None:
    assert broker.depth("inventory") == Depth(ready=0, consumers=0)
    send(broker, order_placed(), order_placed())
    assert broker.depth("inventory") == Depth(ready=2, consumers=0)

    consumer = broker.consumer("inventory", prefetch=10)
    receive(consumer)

    assert broker.depth("inventory") == Depth(ready=1, consumers=1)
    consumer.close()
    assert broker.depth("inventory") == Depth(ready=2, consumers=0)


def test_what_a_process_that_died_held_counts_as_there(place: Place, broker: Broker) -> None:
    send(broker, order_placed())
    with place.process_holding(1, queue="inventory"):
        assert broker.depth("inventory") == Depth(ready=0, consumers=1)

    eventually(lambda: broker.depth("inventory").consumers == 0)


def test_a_queue_that_is_not_there_has_no_depth(broker: Broker) -> None:
    with pytest.raises(BrokerUnavailable, match="shop setup"):
        broker.depth("nobody")


def test_a_dead_letter_tells_the_brokers_reason(place: Place) -> None:
    broker = place.broker(limit=0)
    rejected, failed = order_placed(), order_placed()
    _die(broker, rejected, outcome=Outcome.DEAD)
    _die(broker, failed, outcome=Outcome.RETRY)

    letters = receive(broker.consumer("inventory.dead", prefetch=10, slow_start=False), 2)

    assert {each.event_id: each.reason for each in letters} == {
        rejected.event_id: "rejected",
        failed.event_id: "delivery_limit",
    }


def test_what_is_alive_has_no_reason(broker: Broker) -> None:
    send(broker, order_placed())

    assert receive(broker.consumer("inventory", prefetch=1))[0].reason == ""


def test_a_look_hands_everything_back_however_much_there_is(broker: Broker) -> None:
    messages = [order_placed(body=b"%4d" % number * 50_000) for number in range(100)]
    _die(broker, *messages, outcome=Outcome.DEAD)

    for _ in range(2):
        looking = broker.consumer("inventory.dead", prefetch=100, slow_start=False)
        seen = receive(looking, 100)
        assert {each.body for each in seen} == {each.body for each in messages}
        looking.close()

        eventually(lambda: broker.depth("inventory.dead") == Depth(ready=100, consumers=0))


def test_a_replay_of_a_dead_letter_counts_attempts_anew(broker: Broker) -> None:
    message = order_placed()
    _die(broker, message, outcome=Outcome.DEAD)

    send(broker, order_placed(event_id=message.event_id, only_to="inventory", replays=1))

    [replayed] = receive(broker.consumer("inventory", prefetch=1))
    assert (replayed.attempt, replayed.replays, replayed.reason) == (1, 1, "")


def _die(broker: Broker, *messages: Message, outcome: Outcome) -> None:
    dead = broker.depth("inventory.dead").ready
    send(broker, *messages)
    consumer = broker.consumer("inventory", prefetch=len(messages), slow_start=False)
    settle_all(consumer, receive(consumer, len(messages)), outcome)
    eventually(lambda: broker.depth("inventory.dead").ready == dead + len(messages))
    consumer.close()
