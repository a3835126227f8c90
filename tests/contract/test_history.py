"""How the record of all that was published is read, on every broker."""

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
from tests.contract.places import PATIENCE, Place, order_placed, receive, send, settle_all
from tests.support.order_events import placed


def bodies(recorded: Iterator[HistoryRecord]) -> list[bytes]:
    return [each.body for each in recorded]


def test_an_empty_history_has_neither_first_nor_end(broker: Broker) -> None:
    history = broker.history()

    assert history.first() is None
    assert history.end() == 0
    assert list(history.read(end=0)) == []


def test_everything_is_read_once_in_its_order(broker: Broker) -> None:
    messages = [order_placed(f"order.number{number % 7}") for number in range(2_500)]
    send(broker, *messages)
    history = broker.history()

    read = list(history.read(end=history.end()))

    assert [each.body for each in read] == [each.body for each in messages]
    assert [each.event_id for each in read] == [each.event_id for each in messages]
    assert [each.topic for each in read[:8]] == [each.topic for each in messages[:8]]
    assert read[0].type == messages[0].type
    assert [each.offset for each in read] == sorted({each.offset for each in read})


def test_a_message_of_any_size_is_read_whole(broker: Broker) -> None:
    messages = [order_placed(body=bytes([size % 251]) * size) for size in (0, 1, 131_064, 2**20)]
    send(broker, *messages)
    history = broker.history()

    assert bodies(history.read(end=history.end())) == [each.body for each in messages]


def test_the_first_stands_at_place_0_until_older_ones_are_dropped(broker: Broker) -> None:
    messages = [order_placed() for _ in range(3)]
    send(broker, *messages)

    first = broker.history().first()

    assert first is not None
    assert first.offset == 0
    assert first.body == messages[0].body


def test_a_reading_goes_on_after_the_place_it_had_come_to(broker: Broker) -> None:
    messages = [order_placed() for _ in range(1_000)]
    send(broker, *messages)
    history = broker.history()
    with closing(history.read(end=history.end())) as reading:
        place = list(islice(reading, 700))[-1].offset + 1

    rest = bodies(history.read(start=place, end=history.end()))

    assert rest == [each.body for each in messages[700:]]


def test_what_comes_after_the_noted_end_is_not_read(broker: Broker) -> None:
    messages = [order_placed() for _ in range(10)]
    send(broker, *messages)
    history = broker.history()
    end = history.end()
    send(broker, *[order_placed() for _ in range(10)])

    assert bodies(history.read(end=end)) == [each.body for each in messages]


def test_a_reading_from_a_time_begins_with_what_arrived_then(place: Place, broker: Broker) -> None:
    send(broker, *[order_placed() for _ in range(3)])
    history = broker.history()
    if place.clock is not None:
        place.clock.added += 3600

    later = datetime.now(UTC) + timedelta(minutes=30)
    found = bodies(history.read(start=later, end=history.end()))
    since = bodies(history.read(start=later - timedelta(hours=1), end=history.end()))

    assert found == []
    assert len(since) == 3


def test_a_reading_without_an_end_waits_for_more(broker: Broker) -> None:
    send(broker, *[order_placed() for _ in range(3)])
    history = broker.history()
    following = history.read(start=history.end())
    message = order_placed()

    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(next, following)
        send(broker, message)

        assert waiting.result(PATIENCE).body == message.body
    following.close()


def test_closing_ends_a_reading_that_waits(broker: Broker) -> None:
    history = broker.history()

    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(list, history.read())
        history.close()

        assert waiting.result(PATIENCE) == []


def test_a_replay_to_one_queue_makes_no_history(broker: Broker) -> None:
    send(broker, order_placed(only_to="inventory"), order_placed())
    history = broker.history()

    assert len(bodies(history.read(end=history.end()))) == 1


def test_an_event_that_a_relay_sent_twice_is_told_once(broker: Broker) -> None:
    event, other = placed("ORD-1"), placed("ORD-2")
    for each in (event, other, event):
        send(broker, order_placed(event_id=str(each.event_id), body=encode(each, source="orders")))
    history = broker.history()

    told = [each.event for each in EventReader(history, EventFilter(), end=history.end())]

    assert told == [event, other]


def test_what_was_handled_stays_in_the_history(broker: Broker) -> None:
    message: Message = order_placed()
    send(broker, message)
    consumer = broker.consumer("inventory", prefetch=1)
    settle_all(consumer, receive(consumer), Outcome.DONE)
    history = broker.history()

    assert bodies(history.read(end=history.end())) == [message.body]
