"""How every broker routes, stores and rejects published messages."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import Outcome
from tests.contract.brokers import (
    BrokerUnderTest,
    consumer_after_slow_start,
    order_placed,
    receive,
    send,
    settle_all,
)


@pytest.mark.parametrize(
    ("topic", "reached"),
    [
        pytest.param("order.placed", {"inventory", "email", "analytics"}, id="exact"),
        pytest.param("order.shipped", {"email", "analytics"}, id="star"),
        pytest.param("stock.reserved", {"analytics"}, id="hash"),
        pytest.param("order.placed.late", {"analytics"}, id="star-is-one-word"),
        pytest.param("order", {"analytics"}, id="star-needs-a-word"),
    ],
)
def test_a_message_reaches_every_queue_bound_to_its_topic_and_no_other(
    target: BrokerUnderTest, broker: Broker, topic: str, reached: set[str]
) -> None:
    message = order_placed(topic)

    send(broker, message)

    for name in ("inventory", "email", "analytics"):
        consumer = broker.consumer(name, prefetch=10)
        if name in reached:
            [delivery] = receive(consumer)
            assert (delivery.body, delivery.attempt, delivery.queue) == (message.body, 1, name)
            assert (delivery.event_id, delivery.type) == (message.event_id, message.type)
        assert consumer.take(10, wait=target.timing.quiet_time) == []


def test_a_message_without_a_bound_queue_is_accepted(target: BrokerUnderTest) -> None:
    broker = target.connect()
    topology = target.topology()
    broker.set_up(replace(topology, queues=topology.queues[:1]))

    assert broker.publisher().publish([order_placed("weather.changed")]) == [None]


def test_an_empty_batch_is_accepted(broker: Broker) -> None:
    assert broker.publisher().publish([]) == []


def test_a_batch_of_a_thousand_messages_is_delivered_completely(broker: Broker) -> None:
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=100)
    messages = [order_placed() for _ in range(1000)]

    send(broker, *messages)

    bodies: list[bytes] = []
    while len(bodies) < 1000:
        taken = receive(consumer, 100)
        bodies += [each.body for each in taken]
        settle_all(consumer, taken, Outcome.DONE)
    assert sorted(bodies) == sorted(each.body for each in messages)


def test_several_threads_may_publish_at_the_same_time(broker: Broker) -> None:
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=100)
    publisher = broker.publisher()
    batches = [[order_placed() for _ in range(300)] for _ in range(4)]

    with ThreadPoolExecutor(len(batches)) as threads:
        answers = list(threads.map(publisher.publish, batches))

    assert answers == [[None] * 300] * len(batches)
    ids: list[str] = []
    while len(ids) < 1200:
        taken = receive(consumer, 100)
        ids += [each.event_id for each in taken]
        settle_all(consumer, taken, Outcome.DONE)
    assert sorted(ids) == sorted(each.event_id for batch in batches for each in batch)


def test_a_message_with_a_time_before_1970_is_delivered(broker: Broker) -> None:
    long_ago = replace(order_placed(), occurred_at=datetime(1969, 7, 20, tzinfo=UTC))

    send(broker, long_ago)

    assert receive(broker.consumer("inventory", prefetch=1))[0].body == long_ago.body


def test_a_message_above_1_mib_is_rejected_and_the_others_are_stored(broker: Broker) -> None:
    first, huge, last = order_placed(), order_placed(body=b" " * (1024**2 + 1)), order_placed()
    publisher = broker.publisher()
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=10)

    answers = publisher.publish([first, huge, last])

    assert answers[0] is None
    assert isinstance(answers[1], str)
    assert answers[2] is None
    bodies = {each.body for each in receive(consumer, 2)}
    assert bodies == {first.body, last.body}
    assert publisher.publish([order_placed()]) == [None]


def test_a_message_of_exactly_1_mib_is_delivered(broker: Broker) -> None:
    largest = order_placed(body=b"x" * 1024**2)

    send(broker, largest)

    assert receive(broker.consumer("inventory", prefetch=10))[0].body == largest.body


def test_a_binary_body_is_delivered_unchanged(broker: Broker) -> None:
    message = order_placed(body=bytes(range(256)))

    send(broker, message)

    assert receive(broker.consumer("inventory", prefetch=1))[0].body == message.body


def test_another_message_with_the_same_id_keeps_its_own_body(broker: Broker) -> None:
    message = order_placed()
    other = replace(message, body=b"not the same", type="order.placed.v2")
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=10)

    send(broker, message, other)

    taken = receive(consumer, 2)
    assert [(each.type, each.body) for each in taken] == [
        (message.type, message.body),
        (other.type, other.body),
    ]


def test_a_message_to_one_queue_reaches_that_queue_alone(
    target: BrokerUnderTest, broker: Broker
) -> None:
    message = order_placed(only_to="email", replays=3)

    send(broker, message)

    [delivery] = receive(broker.consumer("email", prefetch=10))
    assert (delivery.body, delivery.replays, delivery.attempt) == (message.body, 3, 1)
    assert delivery.type == message.type
    for name in ("inventory", "analytics"):
        assert broker.consumer(name, prefetch=10).take(10, wait=target.timing.quiet_time) == []


def test_a_message_to_a_missing_queue_is_rejected(broker: Broker) -> None:
    answers = broker.publisher().publish([order_placed(only_to="nobody"), order_placed()])

    assert isinstance(answers[0], str)
    assert answers[1] is None


def test_messages_of_low_priority_are_delivered_after_all_others(broker: Broker) -> None:
    replays = [order_placed(only_to="email", low_priority=True) for _ in range(3)]
    live = [order_placed() for _ in range(3)]
    send(broker, *replays)
    send(broker, *live)
    consumer = broker.consumer("email", prefetch=1)

    bodies = []
    for _ in range(6):
        [taken] = receive(consumer)
        bodies.append(taken.body)
        consumer.settle([(taken, Outcome.DONE)])

    assert bodies == [each.body for each in live + replays]


def test_a_published_message_outlives_the_broker_object(
    target: BrokerUnderTest, broker: Broker
) -> None:
    message = order_placed()
    send(broker, message)
    broker.close()

    again = target.connect()

    assert receive(again.consumer("inventory", prefetch=1))[0].body == message.body


def test_a_delivery_has_the_topic_and_the_user_of_its_publisher(
    target: BrokerUnderTest, broker: Broker
) -> None:
    send(broker, order_placed("order.shipped"))

    [delivery] = receive(broker.consumer("email", prefetch=1))

    assert (delivery.topic, delivery.is_replay) == ("order.shipped", False)
    assert delivery.user == target.user == broker.user


def test_a_message_to_one_queue_is_a_replay_under_the_name_of_the_queue(
    target: BrokerUnderTest, broker: Broker
) -> None:
    send(broker, order_placed("order.shipped", only_to="inventory"))

    [delivery] = receive(broker.consumer("inventory", prefetch=1))

    assert (delivery.topic, delivery.is_replay) == ("inventory", True)
    assert delivery.user == target.user


@pytest.mark.parametrize("only_to", [None, "inventory"], ids=["event", "replay"])
@pytest.mark.parametrize("outcome", [Outcome.RETRY, Outcome.REQUEUE])
def test_a_message_that_is_delivered_again_keeps_its_topic_and_user(
    target: BrokerUnderTest, broker: Broker, outcome: Outcome, only_to: str | None
) -> None:
    send(broker, order_placed(only_to=only_to))
    consumer = broker.consumer("inventory", prefetch=1)
    first = receive(consumer)

    settle_all(consumer, first, outcome)

    again, _ = target.wait_for_retry(consumer)
    kept = [(each.topic, each.is_replay, each.user) for each in (*first, again)]
    assert kept[0] == kept[1]
