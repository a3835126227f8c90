import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, ClassVar
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.errors import EventIsImmutable
from shared.events import (
    DomainEvent,
    OrderCancelled,
    OrderEvent,
    OrderPlaced,
    OrderShipped,
    PaymentReceived,
    StockRanShort,
    StockReserved,
    UnknownEvent,
    concrete_types,
    topic_of,
    topics_of,
    uuid7,
    wire_type,
)


class LetterEvent(OrderEvent):
    """The base of all events about letters."""


class LetterWritten(LetterEvent):
    """A letter was written."""

    topic: ClassVar[str] = "letter.written"


class LetterWrittenTwice(LetterWritten):
    """A letter was written twice."""

    topic: ClassVar[str] = "letter.written_twice"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda below: st.lists(below) | st.dictionaries(st.text(), below),
    max_leaves=20,
)


def _every_event() -> list[DomainEvent]:
    order = {"order_id": "ORD-123"}
    return [
        OrderPlaced(
            **order,
            customer_email="customer@example.com",
            items={"product-1": 2},
            shipping_address="123 Main St, Springfield",
            total_amount=Decimal("99.98"),
            currency="USD",
        ),
        PaymentReceived(**order, amount=Decimal("99.98"), payment_method="card"),
        OrderCancelled(**order, reason="changed my mind", refunded_amount=Decimal(0)),
        StockReserved(**order, items={"product-1": 2}),
        StockRanShort(**order, missing={"product-1": 1}),
        OrderShipped(**order, tracking_number="1Z-999", carrier="Simulated"),
        UnknownEvent(unknown_type="a.b.v1", data={"list": [1, {"deep": [2]}]}),
    ]


EVERY_EVENT = [pytest.param(each, id=type(each).__name__) for each in _every_event()]


@pytest.mark.parametrize("event", EVERY_EVENT)
def test_no_field_of_an_event_can_be_set_or_deleted(event: DomainEvent) -> None:
    before = event.model_dump_json()

    for field in type(event).model_fields:
        with pytest.raises(EventIsImmutable, match=field):
            setattr(event, field, getattr(event, field))
        with pytest.raises(EventIsImmutable, match=field):
            delattr(event, field)

    assert event.model_dump_json() == before


@pytest.mark.parametrize("event", EVERY_EVENT)
def test_nothing_can_be_added_to_an_event(event: DomainEvent) -> None:
    for name in ("gift_wrap", "_private", "type", "model_config"):
        with pytest.raises(EventIsImmutable, match=name):
            setattr(event, name, "added")


def test_changing_an_event_raises_an_attribute_error_like_any_frozen_object() -> None:
    assert issubclass(EventIsImmutable, AttributeError)


@pytest.mark.parametrize("event", EVERY_EVENT)
def test_the_values_of_an_event_are_immutable(event: DomainEvent) -> None:
    for field in type(event).model_fields:
        assert _is_immutable(getattr(event, field)), field


@given(data=JSON)
def test_the_data_of_an_unknown_event_is_frozen_and_serialized_unchanged(
    data: object,
) -> None:
    event = UnknownEvent(unknown_type="a.b.v1", data=data)

    assert _is_immutable(event.data)
    assert event.model_dump(mode="json")["data"] == data


def test_changing_the_arguments_does_not_change_the_event() -> None:
    items, data = {"product-1": 2}, {"list": [1]}
    reserved = StockReserved(order_id="ORD-1", items=items)
    unknown = UnknownEvent(unknown_type="a.b.v1", data=data)

    items["product-1"] = 3
    data["list"].append(2)

    assert reserved.items == {"product-1": 2}
    assert unknown.data == {"list": (1,)}


def test_equal_events_have_the_same_hash() -> None:
    event = _every_event()[0]
    same = OrderPlaced.model_validate(event.model_dump())

    assert {event, same} == {event}
    assert len(set(_every_event())) == 7


def test_every_event_has_a_unique_id_and_a_time_in_utc() -> None:
    first, second = (StockReserved(order_id="ORD-1", items={"p": 1}) for _ in range(2))

    assert first.event_id != second.event_id
    assert first.occurred_at.tzinfo is UTC
    assert abs(datetime.now(UTC) - first.occurred_at) < timedelta(minutes=1)
    assert (first.correlation_id, first.causation_id) == (None, None)


def test_times_are_converted_to_utc() -> None:
    tokyo = datetime(2026, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))

    event = StockReserved(order_id="ORD-1", items={"p": 1}, occurred_at=tokyo)

    assert event.occurred_at.isoformat() == "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("2026-01-01T00:00:00", id="no zone"),
        pytest.param("0001-01-01T00:00:00+14:00", id="before year 1"),
        pytest.param("9999-12-31T23:59:59-14:00", id="after year 9999"),
    ],
)
def test_a_time_that_cannot_be_converted_to_utc_is_invalid(moment: str) -> None:
    with pytest.raises(ValidationError, match="occurred_at"):
        StockReserved.model_validate({"order_id": "A", "items": {"p": 1}, "occurred_at": moment})


def test_the_subject_is_the_order_or_the_subject_on_the_envelope() -> None:
    assert {each.subject for each in _every_event()} == {"ORD-123", None}
    assert UnknownEvent(unknown_type="a.b.v1", about="X-1").subject == "X-1"


def test_the_types_on_the_wire_are_topic_and_version() -> None:
    assert {each.type for each in _every_event()} == {
        "order.placed.v1",
        "payment.received.v1",
        "order.cancelled.v1",
        "stock.reserved.v1",
        "stock.ran_short.v1",
        "order.shipped.v1",
        "a.b.v1",
    }
    assert wire_type(OrderPlaced) == "order.placed.v1"


def test_a_subscription_to_all_events_binds_every_topic() -> None:
    assert topics_of(DomainEvent) == {"#"}


def test_a_subscription_to_a_contract_binds_its_topic_alone() -> None:
    assert topics_of(OrderPlaced) == {"order.placed"}


def test_a_subscription_to_a_base_class_binds_the_topics_of_its_subclasses() -> None:
    assert topics_of(LetterEvent) == {"letter.written", "letter.written_twice"}
    assert topics_of(LetterWritten) == {"letter.written", "letter.written_twice"}
    assert topics_of(OrderEvent) > {"order.placed", "order.shipped", "letter.written_twice"}
    assert LetterEvent not in concrete_types()
    assert set(concrete_types(LetterEvent)) == {LetterWritten, LetterWrittenTwice}


def test_the_unknown_event_is_not_a_contract() -> None:
    assert UnknownEvent not in concrete_types()


@given(st.integers(0, 2**48 - 1))
def test_a_uuid7_contains_its_millisecond_version_and_variant(milliseconds: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(time, "time_ns", lambda: milliseconds * 1_000_000 + 999_999)
        made = uuid7()

    assert made.version == 7
    assert made.variant == RFC_4122
    assert made.int >> 80 == milliseconds


@given(st.lists(st.integers(0, 2**48 - 1), unique=True, min_size=2))
def test_uuid7s_of_different_milliseconds_sort_by_time_as_numbers_and_as_text(
    moments: list[int],
) -> None:
    made: list[UUID] = []
    with pytest.MonkeyPatch.context() as patched:
        for milliseconds in sorted(moments):
            patched.setattr(time, "time_ns", lambda now=milliseconds: now * 1_000_000)
            made.append(uuid7())

    assert sorted(made) == made
    assert sorted(map(str, made)) == [str(each) for each in made]


def test_uuid7s_of_one_millisecond_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000)

    assert len({uuid7() for _ in range(1000)}) == 1000


def _is_immutable(value: Any) -> bool:
    if isinstance(value, Mapping):
        return not hasattr(value, "__setitem__") and all(map(_is_immutable, value.values()))
    if isinstance(value, tuple):
        return all(map(_is_immutable, value))
    return not isinstance(value, list | dict | set | bytearray)


@pytest.mark.parametrize(
    ("event_type", "topic"),
    [
        pytest.param("order.placed.v1", "order.placed", id="versioned"),
        pytest.param("car.v8.sold.v12", "car.v8.sold", id="topic-like-a-version"),
        pytest.param("order.placed", "order.placed", id="unversioned"),
        pytest.param("invoice.voided", "invoice.voided", id="a-word-that-begins-with-v"),
        pytest.param("invoice.voided.v2", "invoice.voided", id="such-a-word-and-a-version"),
        pytest.param("invoice.v", "invoice.v", id="no-number"),
        pytest.param(".v1", ".v1", id="nothing-else"),
    ],
)
def test_the_topic_of_a_type_is_the_type_without_its_version(event_type: str, topic: str) -> None:
    assert topic_of(event_type) == topic
