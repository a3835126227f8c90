"""Field tables are decoded within limits, and as pika decodes them."""

import struct
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pika import data

from shared.messaging.rabbitmq import field_tables
from shared.messaging.rabbitmq.field_tables import (
    MAX_DEPTH,
    MAX_NESTED_VALUES,
    PartlyDecoded,
    decode,
)


def sized(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack(">I", len(content)) + content


def fields(*pairs: tuple[bytes, bytes]) -> bytes:
    return b"".join(bytes([len(key)]) + key + value for key, value in pairs)


def table(*pairs: tuple[bytes, bytes]) -> bytes:
    """A table without its type, as a message's headers are encoded."""
    return sized(b"", fields(*pairs))


def nested(kind: bytes, depth: int) -> bytes:
    value = sized(kind, b"")
    for _ in range(depth - 1):
        value = sized(kind, fields((b"a", value)) if kind == b"F" else value)
    return value


def decoded(*pairs: tuple[bytes, bytes]) -> dict[Any, Any]:
    encoded = table(*pairs)
    found, end = decode(b"before" + encoded + b"after", len(b"before"))
    assert end == len(b"before" + encoded)
    return found


X_DEATH = {
    "x-death": [
        {
            "count": 1,
            "reason": "rejected",
            "queue": "email",
            "time": datetime(2026, 11, 20, tzinfo=UTC),
            "exchange": "events",
            "routing-keys": ["order.placed"],
        }
    ],
    "x-last-death-reason": "rejected",
    "x-delivery-count": 3,
}


@pytest.mark.parametrize(
    "value",
    [
        X_DEATH,
        {},
        {"": None, "ä": b"\xff", "list": [], "table": {}},
        {"n": [1, 2**31, 2**62, -1, Decimal("1.5"), True]},
    ],
)
def test_a_table_is_decoded_as_pika_decodes_it(value: dict[str, Any]) -> None:
    pieces: list[bytes] = []
    data.encode_table(pieces, value)
    encoded = b"".join(pieces)

    found, end = decode(encoded, 0)

    assert (found, end) == (value, len(encoded))
    assert not isinstance(found, PartlyDecoded)


@pytest.mark.parametrize("kind", sorted(field_tables._SCALARS))
def test_any_scalar_of_any_bytes_is_decoded(kind: bytes) -> None:
    size = field_tables._SCALARS[kind][0].size
    values = [kind + bytes([byte]) * size for byte in (0, 0x7F, 0x80, 0xFF)]

    found = decoded(*((bytes([65 + n]), value) for n, value in enumerate(values)))

    assert list(found) == ["A", "B", "C", "D"]
    assert not isinstance(found, PartlyDecoded)


@pytest.mark.parametrize("kind", [b"F", b"A"])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 700, 5_000, 20_000])
def test_what_is_nested_too_deep_is_missing_and_hides_nothing(kind: bytes, depth: int) -> None:
    found = decoded((b"deep", nested(kind, depth)), (b"offset", b"l" + struct.pack(">q", 7)))

    assert found == {"offset": 7}
    assert isinstance(found, PartlyDecoded)


@pytest.mark.parametrize("kind", [b"F", b"A"])
def test_what_is_nested_as_deep_as_allowed_is_decoded(kind: bytes) -> None:
    found = decoded((b"deep", nested(kind, MAX_DEPTH)))

    assert not isinstance(found, PartlyDecoded)
    assert found["deep"]


@pytest.mark.parametrize("count", [MAX_NESTED_VALUES, MAX_NESTED_VALUES + 1])
def test_many_nested_values_are_missing(count: int) -> None:
    found = decoded((b"many", sized(b"A", b"V" * count)), (b"n", b"B\x07"))

    assert found["n"] == 7
    assert isinstance(found, PartlyDecoded) == (count > MAX_NESTED_VALUES)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"?", id="a type that does not exist"),
        pytest.param(b"S\xff\xff\xff\xff", id="text beyond the table"),
        pytest.param(b"A\x00\x00\x00\x7f", id="an array beyond the table"),
        pytest.param(b"T\x00", id="a time without its end"),
        pytest.param(b"F\x00", id="a length without its end"),
        pytest.param(b"", id="a key without a value"),
        pytest.param(sized(b"F", b"\xffkey"), id="a key beyond its table"),
        pytest.param(sized(b"A", b"?"), id="such a type in an array"),
    ],
)
def test_what_is_no_field_table_never_raises(value: bytes) -> None:
    found = decoded((b"first", b"B\x01"), (b"bad", value))

    assert found == {"first": 1}
    assert isinstance(found, PartlyDecoded)


def test_a_table_that_is_longer_than_its_frame_never_raises() -> None:
    found, _ = decode(struct.pack(">I", 2**31) + fields((b"a", b"B\x01")), 0)

    assert found == {"a": 1}
    assert isinstance(found, PartlyDecoded)


def test_the_largest_headers_are_decoded_in_a_moment() -> None:
    worst = [
        [(b"", b"V")] * 43_000,
        [(b"a", nested(b"A", 26_000))],
        [(b"a", nested(b"F", 18_000))],
        [(b"a", sized(b"A", b"V" * 130_000))],
        [(b"k", b"D\xff\x80\x00\x00\x00")] * 16_000,
    ]
    began = time.process_time()

    for pairs in worst:
        decoded(*pairs)

    assert time.process_time() - began < 1
