from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import MalformedEvent
from shared.events import UnknownEvent
from shared.messaging.binary_mode import structured_body
from shared.messaging.codec import decode, read

EVENT_ID = uuid4()
ATTRIBUTES: dict[str, Any] = {
    "specversion": "1.0",
    "id": str(EVENT_ID),
    "source": "/billing",
    "type": "invoice/sent",
    "time": "2026-11-27T12:00:00Z",
    "subject": "ORD-1",
    "correlationid": "txn-abc-123",
}


def headers(prefix: str = "cloudEvents_", **changes: Any) -> dict[str | bytes, object]:
    return {f"{prefix}{name}": value for name, value in (ATTRIBUTES | changes).items()}


def unknown(body: bytes) -> UnknownEvent:
    event = decode(body, {})
    assert isinstance(event, UnknownEvent)
    return event


@pytest.mark.parametrize("prefix", ["cloudEvents_", "cloudEvents:", "ce-"])
def test_an_event_in_binary_mode_is_the_same_event(prefix: str) -> None:
    event = unknown(structured_body(headers(prefix), "application/json", b'{"a": 1.0}'))

    assert (event.event_id, event.type, event.subject) == (EVENT_ID, "invoice/sent", "ORD-1")
    assert event.occurred_at == datetime(2026, 11, 27, 12, tzinfo=UTC)
    assert (event.data, event.content_type) == ({"a": 1.0}, "application/json")
    assert event.correlation_id is not None


@given(order=st.permutations(sorted(headers())), extra=st.sampled_from(["x-death", "x-acquired"]))
def test_the_body_does_not_depend_on_the_order_of_headers_nor_on_the_brokers(
    order: list[str], extra: str
) -> None:
    own = headers()

    shuffled: dict[str | bytes, object] = {extra: 5}
    shuffled |= {name: own[name] for name in order}

    expected = structured_body(own, "application/json", b"{}")
    assert structured_body(shuffled, "application/json", b"{}") == expected


def test_native_values_of_amqp_are_read_as_their_texts() -> None:
    native = headers(
        time=datetime(2026, 11, 27, 12, tzinfo=UTC), flag=True, number=7, blob=b"\xff", none=None
    )
    native |= {"cloudEvents_half": Decimal("0.5"), b"\xff": 1, "cloudEvents_table": {"a": [1]}}

    event = unknown(structured_body(native, "application/json", b"[]"))

    assert event.occurred_at == datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("content_type", "body", "data"),
    [
        ("application/json; charset=utf-8", b'"text"', "text"),
        ("application/vnd.example+json", b"[1]", (1,)),
        ("", b"null", None),
        ("", b"<a/>", b"<a/>"),
        ("text/xml", b"<a/>", b"<a/>"),
        ("text/plain", b"{}", b"{}"),
        ("application/json", b"", None),
        ("application/octet-stream", b"\x00\xff", b"\x00\xff"),
        ("application/json", b"\xef\xbb\xbf[]", ()),
    ],
)
def test_the_body_is_the_data_as_its_content_type_says(
    content_type: str, body: bytes, data: object
) -> None:
    assert unknown(structured_body(headers(), content_type, body)).data == data


@pytest.mark.parametrize(
    "content_type", ["application/cloudevents+json", "Application/CloudEvents"]
)
def test_in_structured_mode_headers_are_ignored(content_type: str) -> None:
    assert structured_body(headers(id="another"), content_type, b"{}") == b"{}"


def test_headers_without_a_specversion_are_not_binary_mode() -> None:
    plain: dict[str | bytes, object] = {"ce-traceparent": "00-1", "cloudEvents_ID": "x"}

    assert structured_body(plain, "application/json", b"{}") == b"{}"


@pytest.mark.parametrize(
    ("own", "content_type", "body", "sentence"),
    [
        (headers(id=None), "application/json", b"{}", "id should be a UUID"),
        (headers(time="today"), "application/json", b"{}", "time: should be a time as in RFC 3339"),
        (headers(time=5), "application/json", b"{}", "time: should be a time as in RFC 3339"),
        (headers(specversion="0.3"), "application/json", b"{}", "specversion"),
        (headers(), "application/json", b'1,"id":"x"', "the data is not JSON"),
        (headers(), "application/json", b'{"a":1,"a":2}', "the data has the key a twice"),
        (headers() | {"ce-id": "x"}, "application/json", b"{}", "the key id twice"),
        (headers(), "json", b"{}", "datacontenttype: should be a media type"),
    ],
)
def test_what_is_wrong_is_refused_with_the_name_of_the_attribute(
    own: dict[str | bytes, object], content_type: str, body: bytes, sentence: str
) -> None:
    with pytest.raises(MalformedEvent, match=sentence):
        read(structured_body(own, content_type, body))


def test_equal_values_under_two_prefixes_are_one_attribute() -> None:
    both = headers("cloudEvents_") | headers("ce-")

    assert unknown(structured_body(both, "application/json", b"{}")).event_id == EVENT_ID


def test_neither_the_data_nor_its_type_is_taken_from_a_header() -> None:
    forged = headers(data="forged", datacontenttype="text/plain")

    assert unknown(structured_body(forged, "application/json", b"{}")).data == {}


def test_a_body_above_the_limit_is_not_converted() -> None:
    body = b"x" * (1024 * 1024 + 1)

    assert structured_body(headers(), "text/plain", body) is body
