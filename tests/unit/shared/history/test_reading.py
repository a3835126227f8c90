from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.errors import InvalidInput
from shared.events import DomainEvent
from shared.history.reading import (
    EventFilter,
    EventReader,
    LatestEvents,
    Unreadable,
    moment,
    types_named,
)
from tests.support.histories import cancelled, paid, placed, shipped
from tests.support.tape import Tape, garbage, recorded

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def told(tape: Tape, wanted: EventFilter | None = None) -> list[DomainEvent]:
    return [each.event for each in EventReader(tape, wanted or EventFilter(), end=tape.end())]


def test_everything_is_told_in_its_order() -> None:
    events = [placed("ORD-1"), paid("ORD-1"), placed("ORD-2")]

    assert told(Tape(events)) == events


def test_an_event_that_was_sent_twice_is_told_once_however_far_apart() -> None:
    twice = placed("ORD-1")
    events = [twice, *(placed(f"ORD-{number}") for number in range(2, 500)), twice]

    assert told(Tape(events)) == events[:-1]


def test_what_is_unreadable_is_named_skipped_and_counted() -> None:
    before, after = placed("ORD-1"), placed("ORD-2")
    skipped: list[Unreadable] = []
    tape = Tape([before, garbage("7f"), garbage(""), after])
    reading = EventReader(tape, EventFilter(), end=tape.end(), tell=skipped.append)

    events = [each.event for each in reading]

    assert events == [before, after]
    assert reading.unreadable == 2
    assert [each.which for each in skipped] == [
        "7f at place 1",
        "a message without an id at place 2",
    ]
    assert skipped[0].reason == "the message is not JSON"


def test_an_unreadable_message_whose_id_is_a_mail_address_is_named_without_it() -> None:
    skipped: list[Unreadable] = []
    tape = Tape([garbage("jane@example.com")])

    list(EventReader(tape, EventFilter(), end=1, tell=skipped.append))

    assert [each.which for each in skipped] == ["a message without an id at place 0"]


def test_a_filter_by_order_lets_that_order_through() -> None:
    events = [placed("ORD-1"), placed("ORD-2"), paid("ORD-1")]

    assert told(Tape(events), EventFilter(order="ORD-1")) == [events[0], events[2]]


@pytest.mark.parametrize("name", ["order.placed", "order.placed.v1"])
def test_a_filter_by_type_takes_topic_and_version(name: str) -> None:
    events = [placed("ORD-1"), paid("ORD-1"), placed("ORD-2")]

    assert told(Tape(events), EventFilter(types=types_named(name))) == [events[0], events[2]]


def test_a_filter_by_topics_takes_what_a_queue_bound_to_them_gets() -> None:
    events = [placed("ORD-1"), paid("ORD-1"), cancelled("ORD-1")]

    assert told(Tape(events), EventFilter(topics=frozenset({"order.*"}))) == [events[0], events[2]]
    assert told(Tape(events), EventFilter(topics=frozenset({"#"}))) == events


def test_what_no_queue_bound_to_the_topics_gets_is_not_looked_into() -> None:
    event = placed("ORD-1")
    sent_as_another = replace(recorded(event), topic="stock.reserved")
    sent_as_it = replace(recorded(paid("ORD-1")), topic="order.placed")
    tape = Tape([replace(garbage(), topic="stock.reserved"), sent_as_another, sent_as_it, event])
    reading = EventReader(tape, EventFilter(topics=frozenset({"order.placed"})), end=tape.end())

    types = [each.event.type for each in reading]

    assert types == ["payment.received.v1", "order.placed.v1"]
    assert reading.unreadable == 0


@pytest.mark.parametrize(
    "wanted",
    [EventFilter(order="ORD-1"), EventFilter(types=frozenset({"order.placed.v1"}))],
    ids=["order", "type"],
)
def test_what_may_be_wanted_and_cannot_be_read_is_counted_filtered_or_not(
    wanted: EventFilter,
) -> None:
    tape = Tape([garbage(), placed("ORD-1")])
    reading = EventReader(tape, wanted, end=tape.end())

    assert len(list(reading)) == 1
    assert reading.unreadable == 1


def test_an_unknown_type_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"order\.eaten.*order\.placed"):
        types_named("order.eaten")


def test_a_filter_by_time_takes_what_occurred_since_though_it_was_published_later() -> None:
    early, late = placed("ORD-1", occurred_at=NOW - timedelta(hours=1)), placed("ORD-2")
    tape = Tape([late, early])

    events = told(tape, EventFilter(since=NOW))

    assert events == [late]
    # A publisher's clock may be ahead of the broker's.
    assert tape.started == [NOW - timedelta(minutes=1)]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.history.reading._PART", 4)


@pytest.mark.usefixtures("small_parts")
def test_of_the_newest_no_more_is_read_than_it_takes() -> None:
    tape = Tape([placed(f"ORD-{number}") for number in range(1000)], dropped=50)

    events = [each.event for each in LatestEvents(tape, EventFilter(), 6)]

    assert events == tape.messages[-6:]
    assert tape.started == [1050 - 6]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("most", [1, 4, 5, 30, 1000])
def test_the_newest_are_those_that_a_whole_reading_ends_with(most: int) -> None:
    kinds = (placed, paid, shipped)
    tape = Tape([kinds[number % 3](f"ORD-{number}") for number in range(100)], dropped=7)
    wanted = EventFilter(types=frozenset({"order.placed.v1"}))

    assert [each.event for each in LatestEvents(tape, wanted, most)] == told(tape, wanted)[-most:]


@pytest.mark.usefixtures("small_parts")
def test_of_the_newest_one_that_was_sent_twice_is_told_once() -> None:
    events = [placed(f"ORD-{number}") for number in range(20)]
    tape = Tape([*events, events[12], events[3], events[12]])

    newest = [each.event for each in LatestEvents(tape, EventFilter(), 4)]

    assert newest == [events[18], events[19], events[12], events[3]]


def test_the_newest_since_a_time_begin_where_it_does() -> None:
    early, late = placed("ORD-1", occurred_at=NOW - timedelta(hours=1)), placed("ORD-2")
    tape = Tape([early, late])

    events = [each.event for each in LatestEvents(tape, EventFilter(since=NOW), 10)]

    assert events == [late]
    assert tape.started[0] == NOW - timedelta(minutes=1)


@pytest.mark.usefixtures("small_parts")
def test_of_the_newest_what_is_unreadable_is_named_where_it_was_read() -> None:
    skipped: list[Unreadable] = []
    tape = Tape([garbage("far"), *(placed(f"ORD-{each}") for each in range(9)), garbage("near")])
    newest = LatestEvents(tape, EventFilter(), 3, tell=skipped.append)

    assert len(list(newest)) == 3
    assert [each.which for each in skipped] == ["near at place 10"]
    assert newest.unreadable == 1


def test_the_place_is_after_all_that_was_looked_at() -> None:
    reading = EventReader(Tape([placed("ORD-1"), paid("ORD-1"), garbage()]), EventFilter(), end=3)

    events = iter(reading)

    next(events)
    assert reading.place == 1
    list(events)
    assert reading.place == 3


def test_a_reading_may_begin_at_a_place() -> None:
    events = [placed("ORD-1"), cancelled("ORD-1"), shipped("ORD-2")]

    reading = EventReader(Tape(events), EventFilter(), start=1, end=3)

    assert [each.event for each in reading] == events[1:]


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("2d", NOW - timedelta(days=2)),
        ("3h", NOW - timedelta(hours=3)),
        ("30m", NOW - timedelta(minutes=30)),
        ("45s", NOW - timedelta(seconds=45)),
        ("2026-11-18T10:00+02:00", datetime(2026, 11, 18, 8, tzinfo=UTC)),
        ("2026-11-18T10:00Z", datetime(2026, 11, 18, 10, tzinfo=UTC)),
        ("2026-11-18", datetime(2026, 11, 18).astimezone(UTC)),
    ],
)
def test_a_time_is_understood(text: str, then: datetime) -> None:
    assert moment(text, now=NOW) == then


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "d", "-2d", "2 d", "2w", "٢d", "9999999d"]
)
def test_what_is_no_time_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidInput, match="should be like 2d, 3h"):
        moment(text, now=NOW)


@pytest.mark.parametrize("text", ["999999d", "0001-01-01", "0001-01-01T00:00+14:00"])
def test_a_time_that_no_calendar_has_is_refused_as_too_far(text: str) -> None:
    with pytest.raises(InvalidInput, match="is too far back, or ahead, for a calendar"):
        moment(text, now=NOW)
