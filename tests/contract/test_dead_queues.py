"""How every broker fills dead queues, and what operators can do with them."""

import pytest

from shared.errors import BrokerUnavailable
from shared.messaging.ports.broker import Broker, Depth
from shared.messaging.ports.consumer import Outcome
from shared.messaging.ports.publisher import Message
from tests.contract.brokers import BrokerUnderTest, order_placed, receive, send, settle_all
from tests.support.waiting import eventually


def test_depth_counts_ready_messages_and_consumers(broker: Broker) -> None:
    assert broker.depth("inventory") == Depth(ready=0, consumers=0)
    send(broker, order_placed(), order_placed())
    assert broker.depth("inventory") == Depth(ready=2, consumers=0)

    consumer = broker.consumer("inventory", prefetch=10)
    receive(consumer)

    assert broker.depth("inventory") == Depth(ready=1, consumers=1)
    consumer.close()
    assert broker.depth("inventory") == Depth(ready=2, consumers=0)


def test_a_dead_process_is_no_longer_counted_as_a_consumer(
    target: BrokerUnderTest, broker: Broker
) -> None:
    send(broker, order_placed())
    with target.process_holding(1, queue="inventory"):
        assert broker.depth("inventory") == Depth(ready=0, consumers=1)

    eventually(lambda: broker.depth("inventory").consumers == 0)


def test_the_depth_of_a_missing_queue_is_an_error(broker: Broker) -> None:
    with pytest.raises(BrokerUnavailable, match="shop setup"):
        broker.depth("nobody")


def test_a_dead_letter_has_the_reason_of_the_broker(target: BrokerUnderTest) -> None:
    broker = target.set_up(max_retries=0)
    rejected, failed = order_placed(), order_placed()
    _die(broker, rejected, outcome=Outcome.DEAD)
    _die(broker, failed, outcome=Outcome.RETRY)

    letters = receive(broker.consumer("inventory.dead", prefetch=10, slow_start=False), 2)

    assert {each.event_id: each.reason for each in letters} == {
        rejected.event_id: "rejected",
        failed.event_id: "delivery_limit",
    }


def test_a_delivery_of_a_live_queue_has_no_reason(broker: Broker) -> None:
    send(broker, order_placed())

    assert receive(broker.consumer("inventory", prefetch=1))[0].reason == ""


def test_browsing_requeues_all_dead_letters_however_many(broker: Broker) -> None:
    messages = [order_placed(body=b"%4d" % number * 50_000) for number in range(100)]
    _die(broker, *messages, outcome=Outcome.DEAD)

    for _ in range(2):
        browsing = broker.consumer("inventory.dead", prefetch=100, slow_start=False)
        letters = receive(browsing, 100)
        assert {each.body for each in letters} == {each.body for each in messages}
        browsing.close()

        eventually(lambda: broker.depth("inventory.dead") == Depth(ready=100, consumers=0))


def test_a_redriven_dead_letter_starts_at_its_first_attempt(broker: Broker) -> None:
    message = order_placed()
    _die(broker, message, outcome=Outcome.DEAD)

    send(broker, order_placed(event_id=message.event_id, only_to="inventory", replays=1))

    [redriven] = receive(broker.consumer("inventory", prefetch=1))
    assert (redriven.attempt, redriven.replays, redriven.reason) == (1, 1, "")


def _die(broker: Broker, *messages: Message, outcome: Outcome) -> None:
    dead = broker.depth("inventory.dead").ready
    send(broker, *messages)
    consumer = broker.consumer("inventory", prefetch=len(messages), slow_start=False)
    settle_all(consumer, receive(consumer, len(messages)), outcome)
    eventually(lambda: broker.depth("inventory.dead").ready == dead + len(messages))
    consumer.close()
