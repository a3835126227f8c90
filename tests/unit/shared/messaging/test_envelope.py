"""What CloudEvents 1.0.2 allows others to send, and what is made of it."""

import json
from base64 import b64encode
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import MalformedEvent
from shared.events import OrderPlaced, UnknownEvent
from shared.messaging.codec import decode, encode, memory_of, read
from shared.messaging.parsing import MAX_SEPARATORS
from tests.support.order_events import placed

CONTRACTS = {"order.placed.v1": OrderPlaced}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below),
    max_leaves=8,
).filter(lambda value: "Infinity" not in json.dumps(value))


def attributes(**changes: Any) -> dict[str, Any]:
    """The attributes of an event of a type without a contract; no value is None by accident."""
    required = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "/billing",
        "type": "invoice/sent",
        "time": "2026-11-27T12:00:00Z",
    }
    return required | changes


def unknown(**changes: Any) -> UnknownEvent:
    event = decode(json.dumps(attributes(**changes)).encode(), CONTRACTS)
    assert isinstance(event, UnknownEvent)
    return event


@given(data=JSON)
def test_data_of_any_json_type_is_read_and_written_unchanged(data: object) -> None:
    event = unknown(data=data)

    assert json.loads(encode(event, source="billing")).get("data") == data


def test_an_event_needs_no_data() -> None:
    assert unknown().data is None


@pytest.mark.parametrize(
    "type_",
    [
        "invoice/sent",
        "com.github.pull_request.opened",
        "Order.Placed.v1",
        "urn:x:y",
        "a b",
        "請求書",
    ],
)
def test_a_type_may_be_any_printable_text(type_: str) -> None:
    event = unknown(type=type_)

    assert event.type == type_


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8; x=1",
        "APPLICATION/JSON",
        "text/json",
        "application/vnd.example+json",
        "application/vnd.example+JSON ; charset=utf-8",
        None,
    ],
)
def test_every_way_to_say_json_is_read(content_type: str | None) -> None:
    body = json.loads(encode(placed(), source="orders")) | {"datacontenttype": content_type}

    assert isinstance(decode(json.dumps(body).encode(), CONTRACTS), OrderPlaced)


@pytest.mark.parametrize(
    "name",
    [
        "subject",
        "datacontenttype",
        "dataschema",
        "correlationid",
        "causationid",
        "data_base64",
        "x",
    ],
)
def test_null_equals_unset(name: str) -> None:
    body = json.loads(encode(placed(), source="orders"))
    body.pop(name, None)

    with_null = decode(json.dumps(body | {name: None}).encode(), CONTRACTS)

    assert with_null == decode(json.dumps(body).encode(), CONTRACTS)


def test_an_event_reads_the_same_with_its_data_as_base64() -> None:
    body = json.loads(encode(placed(), source="orders"))
    data = json.dumps(body.pop("data")).encode()

    event = decode(json.dumps(body | {"data_base64": b64encode(data).decode()}).encode(), CONTRACTS)

    assert event == decode(json.dumps(body | {"data": json.loads(data)}).encode(), CONTRACTS)


@pytest.mark.parametrize("content_type", ["application/octet-stream", None])
def test_data_that_is_not_json_is_read_and_written_as_bytes(content_type: str | None) -> None:
    event = unknown(datacontenttype=content_type, data_base64="AP9h")

    assert (event.data, event.content_type) == (b"\x00\xffa", content_type or "")
    written = json.loads(encode(event, source="billing"))
    assert written["data_base64"] == "AP9h"
    assert written.get("datacontenttype") == content_type
    assert "data" not in written


def test_text_of_another_format_is_read_and_written_as_text() -> None:
    event = unknown(datacontenttype="application/xml", data='<much wow="xml"/>')

    assert (event.data, event.content_type) == ('<much wow="xml"/>', "application/xml")
    assert json.loads(encode(event, source="billing"))["datacontenttype"] == "application/xml"


@pytest.mark.parametrize(
    "changes",
    [
        {"data_base64": "AP9h"},
        {"data_base64": "AP9h", "datacontenttype": "application/octet-stream"},
        {"data_base64": "e30="},
        {"data": "<a/>", "datacontenttype": "application/xml"},
    ],
)
def test_an_event_with_a_contract_needs_json(changes: dict[str, Any]) -> None:
    body = attributes(type="order.placed.v1", **changes)

    with pytest.raises(MalformedEvent, match="datacontenttype should be application/json"):
        decode(json.dumps(body).encode(), CONTRACTS)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data_base64": "canary!"}, r"data_base64 should be Base64 \(RFC 4648\)"),
        ({"data_base64": "AP9"}, "data_base64 should be Base64"),
        ({"data_base64": "AP9h\n"}, "data_base64 should be Base64"),
        ({"data_base64": "é"}, "data_base64 should be Base64"),
        ({"data_base64": 5}, "data_base64 should be Base64"),
        ({"data_base64": "e30=", "data": {}}, "data_base64 should be given without data"),
        ({"data_base64": "e30=", "data": None}, "data_base64 should be given without data"),
        (
            {"data_base64": "eyJhIjoxLCJhIjoyfQ==", "datacontenttype": "application/json"},
            "the data has the key a twice",
        ),
        ({"data_base64": "/w==", "datacontenttype": "text/json"}, "the data is not JSON in UTF-8"),
    ],
)
def test_binary_data_that_is_wrong_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MalformedEvent, match=sentence):
        unknown(**changes)


def test_the_json_in_binary_data_counts_for_the_memory_that_an_event_may_take() -> None:
    hidden = b64encode(b"[" + b"[]," * (MAX_SEPARATORS // 2 - 10) + b"1]").decode()
    body = json.dumps(attributes(datacontenttype="application/json", data_base64=hidden)).encode()

    assert len(decode(body, CONTRACTS).data) > 4_000  # type: ignore[attr-defined]
    assert memory_of(body) > 200 * MAX_SEPARATORS
    with pytest.raises(MalformedEvent, match="without escapes"):
        read(body.replace(b"data_base64", rb"data\u005fbase64"))


def test_binary_data_with_too_many_values_is_not_parsed() -> None:
    crowded = b64encode(b"[" + b"[]," * MAX_SEPARATORS + b"1]").decode()

    with pytest.raises(MalformedEvent, match="the data has more than 10000"):
        unknown(datacontenttype="application/json", data_base64=crowded)


def test_a_conversation_that_is_named_with_a_text_stays_together() -> None:
    first, second = (unknown(correlationid="txn-abc-123") for _ in range(2))

    assert first.correlation_id == second.correlation_id is not None
    assert first.correlation_id != unknown(correlationid="txn-abc-124").correlation_id


def test_a_conversation_that_is_named_with_a_uuid_keeps_it() -> None:
    conversation = uuid4()

    assert unknown(correlationid=str(conversation)).correlation_id == conversation


@pytest.mark.parametrize("value", ["", True, [], {}, 1.5, None])
def test_what_cannot_name_a_conversation_is_ignored(value: object) -> None:
    assert unknown(correlationid=value).correlation_id is None


@pytest.mark.parametrize("value", ["order-123", "", 7, True, [], {}, None, "x" * 100_000])
def test_a_cause_that_is_no_event_here_is_ignored(value: object) -> None:
    assert unknown(causationid=value).causation_id is None


def test_an_extension_may_have_any_name_and_value() -> None:
    event = unknown(comexampleextension1="value", comexampleothervalue=5, flag=True, CamelCase=[1])

    assert event.type == "invoice/sent"


def test_the_conversation_of_a_text_is_the_same_in_every_process() -> None:
    """It is stored, so it must not depend on the process or the release."""
    expected = UUID("1f855f22-82cc-55af-82e4-8a5d84b1806b")

    assert unknown(correlationid="txn-abc-123").correlation_id == expected
