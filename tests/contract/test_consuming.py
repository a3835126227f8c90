"""How every broker delivers to consumers, and what happens when a consumer ends."""

import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from shared.errors import BrokerUnavailable
from shared.messaging import budget
from shared.messaging.codec import memory_of
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import SLOW_START_AFTER, Consumer, Delivery, Outcome
from tests.contract.brokers import (
    TIMEOUT,
    BrokerUnderTest,
    consumer_after_slow_start,
    consumers_after_slow_start,
    order_placed,
    receive,
    send,
    settle_all,
)
from tests.support.waiting import eventually


def test_competing_consumers_get_different_messages(broker: Broker) -> None:
    messages = [order_placed() for _ in range(10)]
    first, second = consumers_after_slow_start(2, broker, "inventory", prefetch=5)

    send(broker, *messages)

    bodies = [each.body for each in receive(first, 5) + receive(second, 5)]
    assert sorted(bodies) == sorted(each.body for each in messages)


def test_a_consumer_holds_at_most_its_prefetch(target: BrokerUnderTest, broker: Broker) -> None:
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=5)
    send(broker, *[order_placed() for _ in range(12)])
    taken = receive(consumer, 5)
    assert consumer.take(10, wait=target.timing.quiet_time) == []

    settle_all(consumer, taken[:2], Outcome.DONE)

    receive(consumer, 2)
    assert consumer.take(10, wait=target.timing.quiet_time) == []


def test_take_returns_at_most_its_limit(broker: Broker) -> None:
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=10)
    send(broker, *[order_placed() for _ in range(5)])

    receive(consumer)

    assert len(consumer.take(2, wait=TIMEOUT)) <= 2


def test_a_new_consumer_holds_one_message_at_a_time_during_slow_start(
    target: BrokerUnderTest, broker: Broker
) -> None:
    send(broker, *[order_placed() for _ in range(SLOW_START_AFTER + 2)])
    consumer = broker.consumer("inventory", prefetch=2)

    for _ in range(SLOW_START_AFTER):
        taken = receive(consumer)
        assert consumer.take(10, wait=target.timing.quiet_time) == []
        settle_all(consumer, taken, Outcome.DONE)

    assert len(receive(consumer, 2)) == 2


def test_closing_requeues_unsettled_messages_uncounted(broker: Broker) -> None:
    messages = [order_placed() for _ in range(6)]
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=6)
    send(broker, *messages)
    receive(consumer, 3)  # the other three may be delivered but not taken

    consumer.close()

    next_consumer = broker.consumer("inventory", prefetch=10)
    again = []
    for _ in range(6):
        [taken] = receive(next_consumer)
        again.append(taken)
        settle_all(next_consumer, [taken], Outcome.DONE)
    assert sorted(each.body for each in again) == sorted(each.body for each in messages)
    assert {each.attempt for each in again} == {1}


def test_closing_the_broker_requeues_what_a_consumer_without_references_held(
    target: BrokerUnderTest,
) -> None:
    broker = target.set_up()
    send(broker, order_placed())
    receive(broker.consumer("inventory", prefetch=1))

    broker.close()

    [again] = receive(target.connect().consumer("inventory", prefetch=1))
    assert again.attempt == 1


def test_what_a_killed_process_held_counts_as_a_failed_attempt(
    target: BrokerUnderTest, broker: Broker
) -> None:
    send(broker, *[order_placed() for _ in range(SLOW_START_AFTER + 3)])

    with target.process_holding(3, queue="inventory") as process:
        consumer = broker.consumer("inventory", prefetch=10)
        assert consumer.take(10, wait=target.timing.quiet_time) == []
        process.kill()
        process.wait(TIMEOUT)

    taken = _take_while_time_passes(target, consumer, 3)
    assert {each.attempt for each in taken} == {2}


def test_a_message_that_kills_its_process_is_dead_past_the_limit(target: BrokerUnderTest) -> None:
    broker = target.set_up(max_retries=0)
    message = order_placed()
    send(broker, message)

    with target.process_holding(1, queue="inventory") as process:
        process.kill()
        process.wait(TIMEOUT)

    consumer = broker.consumer("inventory", prefetch=10)
    dead = broker.consumer("inventory.dead", prefetch=10)
    taken: list[Delivery] = []
    deadline = time.monotonic() + TIMEOUT
    while not taken and time.monotonic() < deadline:
        assert consumer.take(10, wait=0.2) == []
        taken = dead.take(10, wait=0.2)
    assert [each.body for each in taken] == [message.body]


def test_a_waiting_take_returns_a_new_message_at_once(broker: Broker) -> None:
    consumer = broker.consumer("inventory", prefetch=10)

    with ThreadPoolExecutor() as threads:
        taking = threads.submit(consumer.take, 10, wait=TIMEOUT)
        _until_consuming(consumer)
        send(broker, order_placed())

        assert len(taking.result(TIMEOUT / 2)) == 1


def test_wake_makes_a_waiting_take_return(broker: Broker) -> None:
    consumer = broker.consumer("inventory", prefetch=10)

    with ThreadPoolExecutor() as threads:
        taking = threads.submit(consumer.take, 10, wait=2 * TIMEOUT)
        _until_consuming(consumer)
        consumer.wake()

        assert taking.result(TIMEOUT) == []


def test_closing_makes_a_waiting_take_return(broker: Broker) -> None:
    consumer = broker.consumer("inventory", prefetch=10)

    with ThreadPoolExecutor() as threads:
        taking: Future[list[Delivery]] = threads.submit(consumer.take, 10, wait=2 * TIMEOUT)
        _until_consuming(consumer)
        consumer.close()

        assert taking.result(TIMEOUT) == []
    assert not consumer.is_consuming


def test_a_second_close_has_no_effect(broker: Broker) -> None:
    consumer, publisher = broker.consumer("inventory", prefetch=10), broker.publisher()
    consumer.take(1, wait=0)
    publisher.publish([order_placed()])

    for _ in range(2):
        consumer.close()
        publisher.close()
        broker.close()

    assert not consumer.is_consuming


def test_consuming_a_missing_queue_is_an_error_with_its_name(broker: Broker) -> None:
    with pytest.raises(BrokerUnavailable, match="nobody"):
        broker.consumer("nobody", prefetch=1).take(1, wait=TIMEOUT)


def _until_consuming(consumer: Consumer) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not consumer.is_consuming:
        assert time.monotonic() < deadline, "the consumer is not registered"


def _take_while_time_passes(
    target: BrokerUnderTest, consumer: Consumer, count: int
) -> list[Delivery]:
    taken: list[Delivery] = []
    deadline = time.monotonic() + TIMEOUT
    while len(taken) < count:
        assert time.monotonic() < deadline, f"received {len(taken)} of {count}"
        fresh = consumer.take(count, wait=0.2)
        settle_all(consumer, fresh, Outcome.DONE)
        taken += fresh
        if target.clock is not None:
            target.clock.offset += target.timing.delay
    return taken


LARGE = b"x" * 100_000


def test_what_does_not_fit_into_memory_is_left_at_the_broker_uncounted(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "MAX_WAITING_BYTES", 3 * len(LARGE))
    monkeypatch.setattr("shared.messaging.rabbitmq.buffer._MAX_BLOCK", 0.05)
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=40)
    send(broker, *[order_placed(body=LARGE, only_to="inventory") for _ in range(40)])
    first = receive(consumer)

    eventually(lambda: broker.depth("inventory").ready >= 30)
    rest = receive(consumer, 39)

    assert len({delivery.event_id for delivery in [*first, *rest]}) == 40
    assert {delivery.attempt for delivery in [*first, *rest]} == {1}
    consumer.close()


def test_all_large_messages_are_held_by_a_consumer_that_settles_none(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "MAX_WAITING_BYTES", 3 * len(LARGE))
    send(broker, *[order_placed(body=LARGE, only_to="inventory") for _ in range(50)])
    consumer = broker.consumer("inventory", prefetch=50, slow_start=False)

    held = receive(consumer, 50)

    assert len({delivery.event_id for delivery in held}) == 50
    # RabbitMQ also counts cancelled consumers as long as their messages are not settled.
    depth = broker.depth("inventory")
    assert (depth.ready, depth.consumers > 0) == (0, True)
    settle_all(consumer, held[:25], Outcome.DONE)
    consumer.close()
    eventually(lambda: broker.depth("inventory").ready == 25)


def test_no_more_is_taken_at_a_time_than_fits_into_memory(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "MAX_TAKEN_BYTES", 2 * memory_of(LARGE))
    consumer = consumer_after_slow_start(broker, "inventory", prefetch=10)
    send(broker, *[order_placed(body=LARGE, only_to="inventory") for _ in range(6)])

    sizes: list[int] = []
    while sum(sizes) < 6:
        sizes.append(len(consumer.take(10, wait=TIMEOUT)))

    assert max(sizes) <= 2
    consumer.close()


@pytest.mark.parametrize("body", [b"", b"\x00", b"\xff\xfe", b"{", bytes(range(256)) * 100])
def test_a_body_of_any_bytes_is_delivered_as_it_is(broker: Broker, body: bytes) -> None:
    send(broker, order_placed(body=body))

    consumer = broker.consumer("inventory", prefetch=1)

    assert receive(consumer)[0].body == body
    consumer.close()


@pytest.mark.parametrize("text", ["", "\x00", "\x1b[2J", "\u202e", "a@b.example", "\U0001f600"])
def test_an_id_and_a_type_of_any_text_are_delivered(broker: Broker, text: str) -> None:
    send(broker, order_placed(event_id=text, type=text))

    consumer = broker.consumer("inventory", prefetch=1)
    [delivery] = receive(consumer)

    assert (delivery.event_id, delivery.type) == (text, text)
    consumer.close()


def test_text_that_cannot_be_encoded_is_rejected_alone(broker: Broker) -> None:
    publisher = broker.publisher()

    reasons = publisher.publish([order_placed(type="\ud800"), order_placed()])

    assert reasons[0] is not None
    assert "UnicodeEncodeError" in reasons[0]
    assert reasons[1] is None
    publisher.close()


def test_what_a_reading_consumer_did_not_settle_has_no_failed_attempt(broker: Broker) -> None:
    send(broker, *(order_placed(only_to="email") for _ in range(80)))
    reader = broker.consumer("email", prefetch=80, slow_start=False)

    for _ in range(8):
        settle_all(reader, receive(reader, 10)[:5], Outcome.DONE)
    reader.close()

    remaining = receive(broker.consumer("email", prefetch=80, slow_start=False), 40)
    assert {each.attempt for each in remaining} == {1}
