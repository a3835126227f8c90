"""How every broker records the history and reads it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice

from shared.history.reading import EventFilter, EventReader
from shared.messaging.codec import encode
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import Outcome
from shared.messaging.ports.history import HistoryRecord
from shared.messaging.ports.publisher import Message
from tests.contract.brokers import TIMEOUT, BrokerUnderTest, order_placed, receive, send, settle_all
from tests.support.order_events import placed


def bodies(recorded: Iterator[HistoryRecord]) -> list[bytes]:
    return [each.body for each in recorded]


def test_an_empty_history_has_no_first_record_and_ends_at_0(broker: Broker) -> None:
    history = broker.history()

    assert history.first() is None
    assert history.end() == 0
    assert list(history.read(end=0)) == []


def test_a_record_has_the_user_of_its_publisher(target: BrokerUnderTest, broker: Broker) -> None:
    send(broker, order_placed("stock.reserved"))

    record = broker.history().first()

    assert record is not None
    assert (record.topic, record.is_replay, record.user) == ("stock.reserved", False, target.user)


def test_all_messages_are_read_once_in_order(broker: Broker) -> None:
    messages = [order_placed(f"order.number{number % 7}") for number in range(2_500)]
    send(broker, *messages)
    history = broker.history()

    read = list(history.read(end=history.end()))

    assert [each.body for each in read] == [each.body for each in messages]
    assert [each.event_id for each in read] == [each.event_id for each in messages]
    assert [each.topic for each in read[:8]] == [each.topic for each in messages[:8]]
    assert read[0].type == messages[0].type
    assert [each.offset for each in read] == sorted({each.offset for each in read})


def test_a_message_of_any_size_is_read_completely(broker: Broker) -> None:
    messages = [order_placed(body=bytes([size % 251]) * size) for size in (0, 1, 131_064, 2**20)]
    send(broker, *messages)
    history = broker.history()

    assert bodies(history.read(end=history.end())) == [each.body for each in messages]


def test_the_first_record_has_offset_0(broker: Broker) -> None:
    messages = [order_placed() for _ in range(3)]
    send(broker, *messages)

    first = broker.history().first()

    assert first is not None
    assert first.offset == 0
    assert first.body == messages[0].body


def test_reading_continues_after_an_offset(broker: Broker) -> None:
    messages = [order_placed() for _ in range(1_000)]
    send(broker, *messages)
    history = broker.history()
    with closing(history.read(end=history.end())) as reading:
        offset = list(islice(reading, 700))[-1].offset + 1

    rest = bodies(history.read(start=offset, end=history.end()))

    assert rest == [each.body for each in messages[700:]]


def test_records_after_the_given_end_are_not_read(broker: Broker) -> None:
    messages = [order_placed() for _ in range(10)]
    send(broker, *messages)
    history = broker.history()
    end = history.end()
    send(broker, *[order_placed() for _ in range(10)])

    assert bodies(history.read(end=end)) == [each.body for each in messages]


def test_reading_from_a_time_begins_with_the_records_of_that_time(
    target: BrokerUnderTest, broker: Broker
) -> None:
    send(broker, *[order_placed() for _ in range(3)])
    history = broker.history()
    if target.clock is not None:
        target.clock.offset += 3600

    later = datetime.now(UTC) + timedelta(minutes=30)
    after = bodies(history.read(start=later, end=history.end()))
    since = bodies(history.read(start=later - timedelta(hours=1), end=history.end()))

    assert after == []
    assert len(since) == 3


def test_reading_without_an_end_waits_for_new_records(broker: Broker) -> None:
    send(broker, *[order_placed() for _ in range(3)])
    history = broker.history()
    following = history.read(start=history.end())
    message = order_placed()

    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(next, following)
        send(broker, message)

        assert waiting.result(TIMEOUT).body == message.body
    following.close()


def test_closing_ends_a_waiting_read(broker: Broker) -> None:
    history = broker.history()

    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(list, history.read())
        history.close()

        assert waiting.result(TIMEOUT) == []


def test_a_message_to_one_queue_is_not_recorded(broker: Broker) -> None:
    send(broker, order_placed(only_to="inventory"), order_placed())
    history = broker.history()

    assert len(bodies(history.read(end=history.end()))) == 1


def test_an_event_that_was_published_twice_is_read_once(broker: Broker) -> None:
    event, other = placed("ORD-1"), placed("ORD-2")
    for each in (event, other, event):
        send(broker, order_placed(event_id=str(each.event_id), body=encode(each, source="orders")))
    history = broker.history()

    events = [each.event for each in EventReader(history, EventFilter(), end=history.end())]

    assert events == [event, other]


def test_a_handled_message_stays_in_the_history(broker: Broker) -> None:
    message: Message = order_placed()
    send(broker, message)
    consumer = broker.consumer("inventory", prefetch=1)
    settle_all(consumer, receive(consumer), Outcome.DONE)
    history = broker.history()

    assert bodies(history.read(end=history.end())) == [message.body]
