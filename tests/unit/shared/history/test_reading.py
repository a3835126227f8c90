from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.events import DomainEvent
from shared.history.reading import EventFilter, EventReader, LatestEvents, UnreadableRecord
from tests.support.order_events import cancelled, paid, placed, shipped
from tests.support.tape import Tape, garbage, recorded

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def read(tape: Tape, event_filter: EventFilter | None = None) -> list[DomainEvent]:
    reader = EventReader(tape, event_filter or EventFilter(), end=tape.end())
    return [item.event for item in reader]


def test_all_events_are_read_in_order() -> None:
    events = [placed("ORD-1"), paid("ORD-1"), placed("ORD-2")]

    assert read(Tape(events)) == events


def test_an_event_that_was_sent_twice_is_read_once_however_far_apart() -> None:
    twice = placed("ORD-1")
    events = [twice, *(placed(f"ORD-{number}") for number in range(2, 500)), twice]

    assert read(Tape(events)) == events[:-1]


def test_an_unreadable_record_is_reported_skipped_and_counted() -> None:
    before, after = placed("ORD-1"), placed("ORD-2")
    skipped: list[UnreadableRecord] = []
    tape = Tape([before, garbage("7f"), garbage(""), after])
    reader = EventReader(tape, EventFilter(), end=tape.end(), on_unreadable=skipped.append)

    events = [item.event for item in reader]

    assert events == [before, after]
    assert reader.unreadable == 2
    assert [record.label for record in skipped] == [
        "7f at offset 1",
        "a message without an id at offset 2",
    ]
    assert skipped[0].reason.startswith("the message is not JSON")


def test_a_record_whose_properties_cannot_be_decoded_is_unreadable() -> None:
    flawed = replace(recorded(placed("ORD-1")), flaw="its properties cannot be decoded")
    skipped: list[UnreadableRecord] = []

    events = list(EventReader(Tape([flawed]), EventFilter(), end=1, on_unreadable=skipped.append))

    assert events == []
    assert [record.reason for record in skipped] == ["its properties cannot be decoded"]


def test_an_unreadable_record_whose_id_is_a_mail_address_is_reported_without_it() -> None:
    skipped: list[UnreadableRecord] = []
    tape = Tape([garbage("jane@example.com")])

    list(EventReader(tape, EventFilter(), end=1, on_unreadable=skipped.append))

    assert [record.label for record in skipped] == ["sha256:8c87b489ce35 at offset 0"]


def test_a_filter_by_order_passes_events_of_that_order() -> None:
    events = [placed("ORD-1"), placed("ORD-2"), paid("ORD-1")]

    assert read(Tape(events), EventFilter(order_id="ORD-1")) == [events[0], events[2]]


def test_a_filter_by_type_passes_events_of_that_type() -> None:
    events = [placed("ORD-1"), paid("ORD-1"), placed("ORD-2")]
    event_filter = EventFilter(types=frozenset({"order.placed.v1"}))

    assert read(Tape(events), event_filter) == [events[0], events[2]]


def test_a_filter_by_topics_passes_what_a_queue_bound_to_them_receives() -> None:
    events = [placed("ORD-1"), paid("ORD-1"), cancelled("ORD-1")]

    assert read(Tape(events), EventFilter(topics=frozenset({"order.*"}))) == [events[0], events[2]]
    assert read(Tape(events), EventFilter(topics=frozenset({"#"}))) == events


def test_a_filter_by_topics_decides_by_the_routing_key_without_reading_the_body() -> None:
    event = placed("ORD-1")
    with_another_topic = replace(recorded(event), topic="stock.reserved")
    with_this_topic = replace(recorded(paid("ORD-1")), topic="order.placed")
    unreadable = replace(garbage(), topic="stock.reserved")
    tape = Tape([unreadable, with_another_topic, with_this_topic, event])
    reader = EventReader(tape, EventFilter(topics=frozenset({"order.placed"})), end=tape.end())

    types = [item.event.type for item in reader]

    assert types == ["order.placed.v1"]
    assert reader.unreadable == 1  # the one that is forged, under the topic of the filter


@pytest.mark.parametrize(
    "event_filter",
    [EventFilter(order_id="ORD-1"), EventFilter(types=frozenset({"order.placed.v1"}))],
    ids=["order", "type"],
)
def test_an_unreadable_record_that_the_filter_cannot_rule_out_is_counted(
    event_filter: EventFilter,
) -> None:
    tape = Tape([garbage(), placed("ORD-1")])
    reader = EventReader(tape, event_filter, end=tape.end())

    assert len(list(reader)) == 1
    assert reader.unreadable == 1


def test_a_filter_by_time_goes_by_occurrence_not_by_publication() -> None:
    early, late = placed("ORD-1", occurred_at=NOW - timedelta(hours=1)), placed("ORD-2")
    tape = Tape([late, early])

    events = read(tape, EventFilter(since=NOW))

    assert events == [late]
    # A publisher's clock may be ahead of the broker's.
    assert tape.started == [NOW - timedelta(minutes=1)]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.history.reading._FIRST_CHUNK", 4)


@pytest.mark.usefixtures("small_chunks")
def test_the_latest_events_are_read_without_reading_older_ones() -> None:
    tape = Tape([placed(f"ORD-{number}") for number in range(1000)], dropped=50)

    events = [item.event for item in LatestEvents(tape, EventFilter(), 6)]

    assert events == tape.messages[-6:]
    assert tape.started == [1050 - 6, 1050 - 6]  # to find them, and to read them


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("limit", [1, 4, 5, 30, 1000])
def test_the_latest_events_are_the_last_ones_of_a_full_read(limit: int) -> None:
    kinds = (placed, paid, shipped)
    tape = Tape([kinds[number % 3](f"ORD-{number}") for number in range(100)], dropped=7)
    event_filter = EventFilter(types=frozenset({"order.placed.v1"}))

    latest = [item.event for item in LatestEvents(tape, event_filter, limit)]

    assert latest == read(tape, event_filter)[-limit:]


@pytest.mark.usefixtures("small_chunks")
def test_among_the_latest_an_event_that_was_sent_twice_is_read_once() -> None:
    events = [placed(f"ORD-{number}") for number in range(20)]
    tape = Tape([*events, events[12], events[3], events[12]])

    latest = [item.event for item in LatestEvents(tape, EventFilter(), 4)]

    assert latest == [events[18], events[19], events[12], events[3]]


def test_the_latest_events_since_a_time_start_at_that_time() -> None:
    early, late = placed("ORD-1", occurred_at=NOW - timedelta(hours=1)), placed("ORD-2")
    tape = Tape([early, late])

    events = [item.event for item in LatestEvents(tape, EventFilter(since=NOW), 10)]

    assert events == [late]
    assert tape.started[0] == NOW - timedelta(minutes=1)


@pytest.mark.usefixtures("small_chunks")
def test_among_the_latest_an_unreadable_record_is_reported_if_its_chunk_was_read() -> None:
    skipped: list[UnreadableRecord] = []
    tape = Tape([garbage("far"), *(placed(f"ORD-{each}") for each in range(9)), garbage("near")])
    latest = LatestEvents(tape, EventFilter(), 3, on_unreadable=skipped.append)

    assert len(list(latest)) == 3
    assert [record.label for record in skipped] == ["near at offset 10"]
    assert latest.unreadable == 1


def test_the_next_offset_is_after_the_last_record_that_was_read() -> None:
    reader = EventReader(Tape([placed("ORD-1"), paid("ORD-1"), garbage()]), EventFilter(), end=3)

    events = iter(reader)

    next(events)
    assert reader.next_offset == 1
    list(events)
    assert reader.next_offset == 3


def test_a_reader_can_start_at_an_offset() -> None:
    events = [placed("ORD-1"), cancelled("ORD-1"), shipped("ORD-2")]

    reader = EventReader(Tape(events), EventFilter(), start=1, end=3)

    assert [item.event for item in reader] == events[1:]


def test_a_forged_record_is_reported_and_skipped_and_does_not_hide_the_genuine_one() -> None:
    event = placed("ORD-1", customer_email="jane@example.com")
    stolen = event.model_copy(update={"customer_email": "thief@example.com"})
    forged = replace(recorded(stolen), topic="order.shipped", user="shipping")
    skipped: list[UnreadableRecord] = []
    tape = Tape([forged, replace(recorded(event), user="orders")])
    reader = EventReader(tape, EventFilter(), end=tape.end(), on_unreadable=skipped.append)

    events = [item.event for item in reader]

    assert events == [event]
    assert reader.unreadable == 1
    [record] = skipped
    assert record.sentence.startswith(f"forged, skipped: {event.event_id} at offset 0: ")
    assert "routing key order.shipped and broker user shipping" in record.sentence
    assert "example.com" not in record.sentence
