"""Deliveries are taken from bytes as pika itself would read them."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame, spec
from pika.exceptions import InvalidFrameError

from shared.messaging.rabbitmq.frames import deliveries, is_delivery

SHORT = st.text(max_size=40)
PROPERTIES = {
    "content_type": SHORT,
    "content_encoding": SHORT,
    "delivery_mode": st.sampled_from([1, 2]),
    "priority": st.integers(0, 255),
    "correlation_id": SHORT,
    "reply_to": SHORT,
    "expiration": SHORT,
    "message_id": SHORT,
    "timestamp": st.integers(0, 2**40),
    "type": SHORT,
    "user_id": SHORT,
    "app_id": SHORT,
    "cluster_id": SHORT,
}
HEADERS = st.dictionaries(
    SHORT,
    st.none()
    | st.booleans()
    | st.integers(-(2**31), 2**31)
    | st.text(max_size=300)
    | st.lists(st.integers(0, 9), max_size=3)
    | st.dictionaries(SHORT, st.integers(0, 9), max_size=3),
    max_size=4,
)
BEAT = frame.Heartbeat().marshal()
DEEP_IN_TIME = b"\x01aT" + struct.pack(">Q", 2**62)


def wire(
    body: bytes = b"{}",
    *,
    tag: int = 7,
    key: str = "order.placed",
    step: int = 100_000,
    **properties: Any,
) -> bytes:
    """A delivery as the broker sends it, its body in frames of so many bytes."""
    deliver = spec.Basic.Deliver(  # type: ignore[no-untyped-call]
        consumer_tag="consumer", delivery_tag=tag, exchange="events", routing_key=key
    )
    said = spec.BasicProperties(**properties)  # type: ignore[no-untyped-call]
    header = frame.Header(1, len(body), said)
    pieces = (body[start : start + step] for start in range(0, len(body), step))
    frames = frame.Method(1, deliver), header, *(frame.Body(1, piece) for piece in pieces)
    return b"".join(each.marshal() for each in frames)


def at(place: int, **headers: object) -> dict[str, object]:
    return {"x-stream-offset": place} | headers


@given(
    body=st.binary(max_size=500),
    step=st.integers(1, 100),
    key=SHORT,
    headers=HEADERS,
    place=st.integers(2**31, 2**62),
    properties=st.fixed_dictionaries({}, optional=PROPERTIES),
)
def test_whatever_a_message_says_beside_its_place_it_is_read(  # noqa: PLR0913 - parts of a message
    *,
    body: bytes,
    step: int,
    key: str,
    headers: dict[str, object],
    place: int,
    properties: dict[str, Any],
) -> None:
    said = wire(body, key=key, step=step, headers=headers | at(place), **properties)

    (arrived,), length = deliveries(said)

    assert length == len(said)
    assert arrived.tag == 7
    assert (arrived.record.offset, arrived.record.body) == (place, body)
    assert arrived.record.topic == key
    assert arrived.record.event_id == properties.get("message_id", "")
    assert arrived.record.type == properties.get("type", "")


def test_several_are_taken_at_once_and_the_rest_when_it_is_whole() -> None:
    said = [wire(b"x" * 50, step=20, tag=tag, headers=at(2**32 + tag)) for tag in range(3)]
    whole = b"".join(said)

    for length in range(len(whole) + 1):
        arrived, taken = deliveries(whole[:length])

        assert [each.tag for each in arrived] == list(range(len(arrived)))
        assert taken == sum(map(len, said[: len(arrived)]))
    assert len(arrived) == 3


def test_other_frames_are_left_to_pika() -> None:
    delivery = wire(headers=at(2**32))

    assert deliveries(BEAT + delivery) == ([], 0)
    assert not is_delivery(BEAT + delivery)
    cancel = spec.Basic.Cancel("consumer")  # type: ignore[no-untyped-call]
    assert not is_delivery(frame.Method(1, cancel).marshal())
    assert is_delivery(delivery)
    assert [deliveries(delivery + BEAT)[1]] == [len(delivery)]


def test_a_beginning_that_may_become_a_delivery_is_waited_for() -> None:
    delivery = wire(headers=at(2**32))

    assert all(is_delivery(delivery[:length]) for length in range(1, len(delivery)))


def test_a_header_that_pika_cannot_hold_is_not_looked_into() -> None:
    table = DEEP_IN_TIME + b"\x0fx-stream-offsetl" + struct.pack(">q", 12)
    plain = wire(b"", headers=at(2**32))
    encoded = struct.pack(">I", len(table)) + table
    head = plain.index(b"\x02\x00\x01", 10)
    payload = plain[head + 7 : head + 7 + 12] + struct.pack(">H", 1 << 13) + encoded
    said = plain[:head] + b"\x02\x00\x01" + struct.pack(">I", len(payload)) + payload + b"\xce"

    (arrived,), _ = deliveries(said)

    assert arrived.record.offset == 12


def test_a_place_that_a_sender_made_up_within_a_value_is_not_taken() -> None:
    forged = "\x0fx-stream-offsetl" + "\x01" * 8

    (arrived,), _ = deliveries(
        wire(headers={"a": forged, "b": [forged]} | at(2**32) | {"z": forged})
    )

    assert arrived.record.offset == 2**32


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(wire(b"{}", headers=at(2**32))[:-1] + b"\x00", id="without its end"),
        pytest.param(wire(b"", headers=at(2**32)).replace(b"\x02\x00\x01", BEAT), id="mixed up"),
        pytest.param(wire(b"{}", headers={}), id="without a place"),
        pytest.param(wire(b"{}"), id="without headers"),
    ],
)
def test_what_is_no_delivery_of_a_stream_is_an_error(said: bytes) -> None:
    with pytest.raises(InvalidFrameError):
        deliveries(said)
