import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import EventTooLarge, MalformedEvent, OutgoingEventTooLarge
from shared.events import (
    ENVELOPE,
    DomainEvent,
    OrderPlaced,
    UnknownEvent,
    concrete_types,
    uuid7,
    wire_type,
)
from shared.messaging.codec import LARGEST_EVENT_BYTES, decode, encode, message_of
from shared.messaging.parsing import MAX_SEPARATORS
from shared.messaging.ports.publisher import Message

CONTRACTS = {wire_type(each): each for each in concrete_types()}
CANARY = "canary@secret.example\n"
MISSING = object()

PLACED = OrderPlaced(
    event_id=UUID("01890a5d-ac96-774b-bcce-b302099a8057"),
    occurred_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    correlation_id=UUID("01890a5d-ac96-774b-bcce-b302099a8058"),
    causation_id=UUID("01890a5d-ac96-774b-bcce-b302099a8059"),
    order_id="ORD-123",
    customer_email="customer@example.com",
    items={"product-1": 2, "product-2": 1},
    shipping_address="123 Main St, Springfield",
    total_amount=Decimal("99.99"),
    currency="USD",
)

ZONES = st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-11))])

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "type", "data", "time"]), below)
    ),
    max_leaves=10,
)


def test_an_event_is_a_cloudevent_on_the_wire() -> None:
    assert json.loads(encode(PLACED, source="orders")) == {
        "specversion": "1.0",
        "id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "source": "/orders",
        "type": "order.placed.v1",
        "subject": "ORD-123",
        "time": "2026-01-02T03:04:05Z",
        "datacontenttype": "application/json",
        "correlationid": "01890a5d-ac96-774b-bcce-b302099a8058",
        "causationid": "01890a5d-ac96-774b-bcce-b302099a8059",
        "data": {
            "order_id": "ORD-123",
            "customer_email": "customer@example.com",
            "items": {"product-1": 2, "product-2": 1},
            "shipping_address": "123 Main St, Springfield",
            "total_amount": "99.99",
            "currency": "USD",
        },
    }


def test_an_attribute_without_a_value_is_omitted_from_the_envelope() -> None:
    first = PLACED.model_copy(update={"correlation_id": None, "causation_id": None})

    assert {"correlationid", "causationid"}.isdisjoint(json.loads(encode(first, source="orders")))


@given(
    items=st.dictionaries(
        st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
        st.integers(1, 10_000),
        min_size=1,
        max_size=20,
    ),
    total=st.decimals(0, 999_999_999_999, places=2),
    address=st.text(min_size=1, max_size=500).filter(
        lambda text: text.isprintable() and text.strip()
    ),
    occurred_at=st.datetimes(timezones=ZONES, min_value=datetime(2000, 1, 1)),  # noqa: DTZ001 - Hypothesis adds the zone
)
def test_a_decoded_event_equals_the_encoded_one(
    items: dict[str, int], total: Decimal, address: str, occurred_at: datetime
) -> None:
    event = OrderPlaced(
        order_id="ORD-1",
        customer_email="customer@example.com",
        items=items,
        shipping_address=address,
        total_amount=total,
        currency="EUR",
        occurred_at=occurred_at,
        correlation_id=uuid7(),
    )

    assert decode(encode(event, source="orders"), CONTRACTS) == event


def test_an_unknown_field_is_ignored() -> None:
    body = _body(extra=1, data={**_envelope()["data"], "gift_wrap": True})

    assert decode(body, CONTRACTS) == PLACED


def test_data_cannot_override_the_envelope() -> None:
    body = _body(data={**_envelope()["data"], "event_id": str(uuid7()), "occurred_at": "never"})

    assert decode(body, CONTRACTS) == PLACED


@pytest.mark.parametrize("type_", ["order.placed.v2", "weather.changed.v1"])
def test_a_type_or_version_without_contract_is_an_unknown_event(type_: str) -> None:
    body = _body(type=type_, data={"a": [1, {"b": "2"}]})

    event = decode(body, CONTRACTS)

    assert isinstance(event, UnknownEvent)
    assert (event.type, event.subject, event.event_id) == (type_, "ORD-123", PLACED.event_id)
    assert json.loads(encode(event, source="orders")) == json.loads(body)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param(field, value, id=f"{field}-{name}")
        for field, name, value in [
            ("specversion", "missing", MISSING),
            ("specversion", "other", "0.3"),
            ("id", "missing", MISSING),
            ("id", "not-a-uuid", CANARY),
            ("id", "number", 5),
            ("source", "missing", MISSING),
            ("source", "line-break", CANARY),
            ("source", "empty", ""),
            ("source", "long", "x" * 201),
            ("type", "missing", MISSING),
            ("type", "line-break", CANARY),
            ("type", "empty", ""),
            ("type", "null", None),
            ("type", "noncharacter", "canary\uffff"),
            ("source", "escape-of-8-bits", "canary\u009b31m"),
            ("source", "right-to-left", "canary\u202esecret"),
            ("subject", "nul", "a\0b"),
            ("subject", "next-line", "canary\u0085secret"),
            ("subject", "line-separator", "canary\u2028secret"),
            ("subject", "right-to-left", "canary\u202esecret"),
            ("subject", "isolate", "canary\u2067secret"),
            ("subject", "mark", "canary\u200fsecret"),
            ("subject", "number", 5),
            ("time", "missing", MISSING),
            ("time", "not-a-time", CANARY),
            ("time", "no-zone", "2026-01-01T00:00:00"),
            ("time", "number", 1_700_000_000),
            ("time", "number-as-text", "1700000000"),
            ("time", "null", None),
            ("time", "before-year-1", "0001-01-01T00:00:00+14:00"),
            ("time", "after-year-9999", "9999-12-31T23:59:59-14:00"),
            ("datacontenttype", "no-media-type", "canary"),
            ("datacontenttype", "empty", ""),
            ("datacontenttype", "line-break", "text/xml; a=canary\n"),
            ("datacontenttype", "number", 5),
            ("data_base64", "beside-data", "e30="),
        ]
    ],
)
def test_a_malformed_envelope_is_refused_with_the_name_of_its_field(
    field: str, value: object
) -> None:
    body = _body(**{field: value})

    with pytest.raises(MalformedEvent, match=rf"^not a CloudEvent: {field}\b") as refused:
        decode(body, CONTRACTS)

    _contains_no_value(refused.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param(field, value, id=f"{field}-{name}")
        for field, name, value in [
            ("datacontenttype", "xml", "text/xml"),
            ("data", "text", CANARY),
            ("data", "list", [CANARY]),
            ("data", "null", None),
            ("data", "missing", MISSING),
        ]
    ],
)
def test_data_that_is_no_object_is_refused_for_a_type_with_a_contract(
    field: str, value: object
) -> None:
    with pytest.raises(MalformedEvent, match=rf"^order\.placed\.v1: {field} should be ") as refused:
        decode(_body(**{field: value}), CONTRACTS)

    _contains_no_value(refused.value)


def test_a_subject_may_be_in_any_script() -> None:
    body = _body(type="weather.changed.v1", subject="Zürich, עברית, 東京")

    assert decode(body, CONTRACTS).subject == "Zürich, עברית, 東京"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param(field, value, id=f"{field}-{name}")
        for field, name, value in [
            ("order_id", "missing", MISSING),
            ("order_id", "line-break", CANARY),
            ("order_id", "long", "x" * 65),
            ("customer_email", "line-break", CANARY),
            ("customer_email", "display-name", f"Jane <{CANARY}>"),
            ("shipping_address", "line-break", CANARY),
            ("shipping_address", "line-separator", "canary\u2028secret"),
            ("shipping_address", "blank", "   "),
            ("shipping_address", "long", "canary" * 100),
            ("total_amount", "text", CANARY),
            ("total_amount", "float", 99.99),
            ("total_amount", "mills", "0.001"),
            ("total_amount", "negative", "-1"),
            ("total_amount", "nan", "NaN"),
            ("total_amount", "infinite", "Infinity"),
            ("total_amount", "huge", "1e30"),
            ("currency", "text", CANARY),
            ("items", "text", CANARY),
            ("items", "empty", {}),
            ("items", "zero", {"p": 0}),
            ("items", "negative", {"p": -1}),
            ("items", "too-many", {"p": 10_001}),
            ("items", "fraction", {"p": 1.5}),
            ("items", "boolean", {"p": True}),
            ("items", "quantity-as-text", {"p": CANARY}),
            ("items", "sku", {CANARY: 1}),
            ("items", "101-lines", {f"p{number}": 1 for number in range(101)}),
        ]
    ],
)
def test_malformed_data_is_refused_with_the_name_of_its_field(field: str, value: object) -> None:
    data = {**_envelope()["data"], field: value}
    body = _body(data={name: each for name, each in data.items() if each is not MISSING})

    with pytest.raises(MalformedEvent, match=rf"^order\.placed\.v1: data\.{field}\b") as refused:
        decode(body, CONTRACTS)

    _contains_no_value(refused.value)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(CANARY.encode(), id="text"),
        pytest.param(b"\xff\xfe", id="bytes"),
        pytest.param(b'{"specversion": NaN}', id="nan"),
        pytest.param(b'{"id": "\\ud800"}', id="half-a-surrogate"),
        pytest.param(b"[" * 9_000, id="deep"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"null", id="null"),
    ],
)
def test_a_body_that_is_not_a_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(
        MalformedEvent, match=r"^the message is (not JSON|JSON, but not)"
    ) as refused:
        decode(body, CONTRACTS)

    _contains_no_value(refused.value)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_an_event_or_malformed(body: bytes) -> None:
    try:
        event = decode(body, CONTRACTS)
    except MalformedEvent:
        return
    assert isinstance(event, DomainEvent)


@given(field=st.sampled_from(sorted(PLACED.model_dump(exclude=set(ENVELOPE)))), value=JSON)
def test_with_any_value_of_a_field_a_body_is_an_event_or_malformed(
    field: str, value: object
) -> None:
    body = _body(data={**_envelope()["data"], field: value})
    try:
        event = decode(body, CONTRACTS)
    except MalformedEvent as refused:
        assert field in str(refused) or "not JSON" in str(refused)  # noqa: PT017 - either is right
    else:
        assert isinstance(event, OrderPlaced)


def test_a_body_above_1_mib_is_not_parsed() -> None:
    with pytest.raises(EventTooLarge, match="1 MiB"):
        decode(b"{" * (LARGEST_EVENT_BYTES + 1), CONTRACTS)


def test_an_event_above_1_mib_is_not_encoded() -> None:
    huge = UnknownEvent(unknown_type="a.b.v1", data={"canary": "x" * LARGEST_EVENT_BYTES})

    with pytest.raises(OutgoingEventTooLarge, match=str(huge.event_id)) as refused:
        encode(huge, source="orders")

    _contains_no_value(refused.value)


def test_an_event_with_more_values_than_readers_accept_is_not_encoded() -> None:
    crowded = UnknownEvent(unknown_type="a.b.v1", data=[0] * (MAX_SEPARATORS + 1))

    with pytest.raises(OutgoingEventTooLarge, match="10000"):
        encode(crowded, source="orders")


def test_the_largest_order_is_encoded_and_decoded() -> None:
    items = {f"{number:064}": 10_000 for number in range(100)}
    largest = PLACED.model_copy(update={"items": items, "shipping_address": "x" * 500})

    assert decode(encode(largest, source="orders"), CONTRACTS) == largest


def test_the_codec_loads_no_broker() -> None:
    program = """
import sys
import shared.messaging.codec
print(*(name for name in sys.modules if name.startswith(("shared.messaging.", "pika"))))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    loaded = done.stdout.split()
    assert "shared.messaging.codec" in loaded
    assert not [
        each for each in loaded if "rabbitmq" in each or "embedded" in each or "pika" in each
    ]


def _envelope() -> dict[str, Any]:
    envelope: dict[str, Any] = json.loads(encode(PLACED, source="orders"))
    return envelope


def test_the_message_of_an_event_carries_what_its_envelope_says() -> None:
    message = message_of(PLACED, source="orders")

    assert message == Message(
        event_id="01890a5d-ac96-774b-bcce-b302099a8057",
        topic="order.placed",
        type="order.placed.v1",
        body=encode(PLACED, source="orders"),
        source="orders",
        correlation_id="01890a5d-ac96-774b-bcce-b302099a8058",
        occurred_at=PLACED.occurred_at,
    )


def test_the_message_of_an_event_of_unknown_type_keeps_its_type_and_body() -> None:
    body = _body(type="moon.risen.v9")

    message = message_of(decode(body, CONTRACTS), source="history", body=body)

    assert (message.topic, message.type) == ("moon.risen", "moon.risen.v9")
    assert message.body is body


def _body(**differing: object) -> bytes:
    envelope = _envelope() | differing
    return json.dumps(
        {name: each for name, each in envelope.items() if each is not MISSING}
    ).encode()


def _contains_no_value(error: Exception | None) -> None:
    """Neither the error nor its causes contain a value of the message."""
    while error is not None:
        shown = f"{error!r} {error}"
        assert "canary" not in shown
        assert "secret" not in shown
        assert "customer@" not in shown
        assert not error.__context__ or error.__suppress_context__
        error = error.__cause__ if isinstance(error.__cause__, Exception) else None
