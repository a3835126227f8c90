"""The hostile corpus: messages as a service that is wrong, or taken over, can publish them.

Each has a name and a body of its own, by which its outcome is found. Where the properties are
hostile the body is a valid event, so only the properties can be the reason of what happens.
"""

import gzip
import json
import math
import pickle
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any
from uuid import NAMESPACE_URL, uuid5

MEBIBYTE = 1024 * 1024

CANARY = "canary.7f3a@victim.example"
"""Personal data: no log, failure record or listing may hold it."""

NAMES = "nobody-else"
"""Where a name in the corpus must not be that of a real service."""


class Fate(Enum):
    """What must become of a message in each queue that receives it."""

    DEAD = auto()
    HANDLED = auto()
    """Or a duplicate of an event that was handled."""
    EITHER = auto()
    """Handled by a service that takes unknown types, dead elsewhere; or RabbitMQ's own decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileMessage:
    """A message of the corpus.

    Attributes:
        topic: the routing key.
        properties: encoded, from the flags on; None for plain ones.
        message_id: the property, where `properties` is None.
        type: likewise.
    """

    name: str
    topic: str
    body: bytes
    fate: Fate = Fate.DEAD
    properties: bytes | None = None
    message_id: str = ""
    type: str = ""


DATA: dict[str, dict[str, Any]] = {
    "order.placed": {
        "order_id": "ORD-1",
        "customer_email": "jane@example.com",
        "items": {"product-1": 2},
        "shipping_address": "123 Main St",
        "total_amount": "19.98",
        "currency": "EUR",
    },
    "payment.received": {"order_id": "ORD-1", "amount": "19.98", "payment_method": "card"},
    "order.cancelled": {"order_id": "ORD-1", "reason": "too late", "refunded_amount": "0.00"},
    "stock.reserved": {"order_id": "ORD-1", "items": {"product-1": 2}},
    "stock.ran_short": {"order_id": "ORD-1", "missing": {"product-1": 2}},
    "order.shipped": {"order_id": "ORD-1", "tracking_number": "T-1", "carrier": "Post"},
}
"""Valid data of each contract, by topic."""

PUBLISHER = {"payment": "orders", "order": "orders", "stock": "inventory"}
"""By the first word of the topic; shipping publishes order.shipped."""


def corpus() -> list[HostileMessage]:
    """All messages; the same at each call."""
    messages = [*_bodies(), *_envelopes(), *_data(), *_properties(), *_headers()]
    assert len({each.name for each in messages}) == len(messages)
    assert len({each.body for each in messages}) == len(messages)
    return messages


def event(name: str, topic: str = "order.placed", /, **changes: Any) -> dict[str, Any]:
    """A valid envelope with an id and an order of its own; changes replace its attributes."""
    event_id = uuid5(NAMESPACE_URL, name)
    source = "shipping" if topic == "order.shipped" else PUBLISHER[topic.partition(".")[0]]
    envelope = {
        "specversion": "1.0",
        "id": str(event_id),
        "source": f"/{source}",
        "type": f"{topic}.v1",
        "subject": f"ORD-{event_id}",
        "time": "2026-11-20T12:00:00Z",
        "datacontenttype": "application/json",
        "correlationid": str(event_id),
        "data": DATA[topic] | {"order_id": f"ORD-{event_id}"},
    }
    return envelope | changes


def valid(name: str, topic: str = "order.placed") -> bytes:
    """The body of a valid event."""
    return json.dumps(event(name, topic)).encode()


def _with(name: str, topic: str = "order.placed", /, **changes: Any) -> bytes:
    return json.dumps(event(name, topic, **changes)).encode()


def _with_data(name: str, topic: str = "order.placed", /, **changes: Any) -> bytes:
    return _with(name, topic, data=event(name, topic)["data"] | changes)


def _with_json(name: str, value: str) -> bytes:
    """A valid event with this JSON text as a field of its data that no contract has."""
    return _with_data(name, extra="?").replace(b'"?"', value.encode())


def _padded(name: str, size: int) -> bytes:
    body = valid(name)
    return body[:-1] + b" " * (size - len(body)) + b"}"


# -- Bodies that are no event, or an unusual one


def _bodies() -> Iterator[HostileMessage]:
    for name, body in _no_events().items():
        yield HostileMessage(name=name, topic="order.placed", body=body)
    for name, body in _unusual_events().items():
        yield HostileMessage(name=name, topic="order.placed", body=body, fate=Fate.HANDLED)
    for name, size in {"1.25 MiB and a byte": MEBIBYTE * 5 // 4 + 1, "16 MB": 16_000_000}.items():
        yield HostileMessage(name=name, topic="order.placed", body=b"y" * size, fate=Fate.EITHER)
    yield HostileMessage(
        name="a mail address as message id",
        topic="order.placed",
        body=b"{ no event: address as message id",
        message_id=CANARY,
        type="order.placed.v1",
    )
    yield HostileMessage(
        name="control characters as message id and type",
        topic="order.placed",
        body=b"{ no event: control characters as id",
        message_id="\x1b[2J\x00\u202e",
        type="\x1b]0;title\x07",
    )
    yield HostileMessage(
        name="a very long message id",
        topic="order.placed",
        body=b"{ no event: long id",
        message_id="m" * 255,
        type="t" * 255,
    )


def _no_events() -> dict[str, bytes]:
    good = valid("no event")
    return {
        "empty": b"",
        "NUL": b"\x00",
        "many NUL": b"\x00" * 100_000,
        "spaces": b" \r\n\t",
        "null": b"null",
        "true": b"true",
        "a number": b"0",
        "a text": b'"order.placed.v1"',
        "an empty list": b"[]",
        "an empty object": b"{}",
        "a batch of events": b"[" + good + b"]",
        "bytes that are not UTF-8": b"\xff\xfe\xfd",
        "invalid UTF-8 in a text": valid("utf8").replace(b"Main", b"\xc3\x28"),
        "an overlong encoding": valid("overlong").replace(b"Main", b"\xc0\xaf"),
        "a surrogate in UTF-8": valid("cesu").replace(b"Main", b"\xed\xa0\x80"),
        "UTF-8 with two byte order marks": b"\xef\xbb\xbf" * 2 + valid("boms"),
        "the same attribute twice": b'{"id":"x",' + valid("twice")[1:],
        "the same key twice, once escaped": _with_json("escaped key", r'{"a":1,"\u0061":2}'),
        "data twice, as JSON and as base64": _with("both", data_base64="e30="),
        "UTF-16": valid("utf16").decode().encode("utf-16"),
        "UTF-16 little-endian": valid("utf16le").decode().encode("utf-16-le"),
        "UTF-32": valid("utf32").decode().encode("utf-32"),
        "Latin-1": json.dumps(event("l1") | {"subject": "é"}, ensure_ascii=False).encode("latin-1"),
        "a lone surrogate": valid("lone").replace(b"Main", b"\\ud800"),
        "a lone surrogate as key": valid("key").replace(b'"currency"', b'"\\udfff"'),
        "a reversed pair of surrogates": valid("pair").replace(b"Main", b"\\ude00\\ud83d"),
        "half of an event": good[: len(good) // 2],
        "an event without its last brace": good[:-1],
        "an event and a brace": good + b"}",
        "two events": good + good,
        "an event and NUL": good + b"\x00",
        "a trailing comma": good[:-1] + b",}",
        "single quotes": good.replace(b'"', b"'"),
        "a comment": b"/* x */" + good,
        "JSON Lines": good + b"\n" + good + b"\n",
        "NaN": _with_json("nan", "NaN"),
        "Infinity": _with_json("inf", "Infinity"),
        "minus Infinity": _with_json("-inf", "-Infinity"),
        "a hexadecimal number": _with_json("hex", "0xFF"),
        "a number with a leading zero": _with_json("octal", "0777"),
        "a number of 100,000 digits": _with_json("digits", "9" * 100_000),
        "a line break in a text": _with_json("break", '"a\nb"'),
        "an escape that does not exist": _with_json("escape", r'"\x41"'),
        "lists nested 9,000 deep": b"[" * 9_000,
        "objects nested 1,000 deep": _with_json("objects", '{"a":' * 1_000 + "1" + "}" * 1_000),
        "an event nested 5,000 deep": _with_json("nested", "[" * 4_000 + "]" * 4_000),
        "1 MiB of open brackets": b"[" * MEBIBYTE,
        "1 MiB of empty lists": _with_json("lists", "[" + "[]," * 340_000 + "1]"),
        "1 MiB of empty objects": _with_json("empties", "[" + "{}," * 340_000 + "1]"),
        "1 MiB of numbers": _with_json("numbers", "[" + "1," * 500_000 + "1]"),
        "50,000 keys": _with_json("keys", json.dumps({str(n): n for n in range(50_000)})),
        "the same key 50,000 times": _with_json("same", "{" + '"a":1,' * 50_000 + '"a":1}'),
        "gzip": gzip.compress(valid("gzip"), mtime=0),
        "zlib": zlib.compress(valid("zlib")),
        "gzip of 100 MB": gzip.compress(bytes(10**8), 9, mtime=0),
        "XML with entities": b'<!DOCTYPE a [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><a>&b;</a>',
        "YAML": b"specversion: '1.0'\nid: !!python/object/apply:os.system [true]\n",
        "a pickle": pickle.dumps({"order": 1}, protocol=4),
        "HTML": b"<script>alert(1)</script>",
        "a terminal's escape sequences": b"\x1b[2J\x1b]0;owned\x07",
        "a mail address": CANARY.encode(),
        "half of an event with a mail address": json.dumps(
            event("half") | {"subject": CANARY}
        ).encode()[:-30],
        "1 MiB and a byte": _padded("above", MEBIBYTE + 1),
        "1.2 MiB": _padded("larger", MEBIBYTE + 200_000),
        "1.25 MiB of a letter": b"x" * (MEBIBYTE * 5 // 4),
    }


def _unusual_events() -> dict[str, bytes]:
    prototypes = ("__class__", "__init__", "__dict__", "__proto__", "constructor", "model_config")
    nested = "[" * 150 + "]" * 150
    return {
        "1 MiB": _padded("exactly", MEBIBYTE),
        "900 kB of text in an unknown field": _with_data("text", extra="x" * 900_000),
        "wide text in an unknown field": _with_json("wide", f'"{"x" * 900_000}\U0001f600"'),
        "unknown fields": _with_data("unknown", extra={"a": [1, None, {"b": 2.5}]}),
        "names of Python's attributes": _with_data("dunder", **dict.fromkeys(prototypes, "x")),
        "the envelope's fields as data": _with_data(
            "shadow", event_id="x", occurred_at="x", correlation_id=1, topic="x", version=99
        ),
        "unknown attributes": _with(
            "extension", traceparent="00-1", **{"": 1, "data_base64": None}
        ),
        "lists nested 150 deep in an unknown field": _with_json("150", nested),
        "1,000 unknown keys": _with_data("thousand", extra={str(n): n for n in range(1_000)}),
        "a byte order mark": b"\xef\xbb\xbf" + valid("bom"),
        "a number of 300 digits": _with_json("300", "9" * 300),
        "a huge exponent": _with_json("1e400", "1e400"),
        "a tiny number": _with_json("1e-400", "1e-400"),
        "minus zero": _with_json("-0", "-0"),
        "escaped text": valid("escaped").replace(b"Main", b"\\u004d\\u0061in"),
        "a character of four bytes": _with_data("emoji", shipping_address="1 \U0001f600 St"),
        "no subject": _with("no subject", subject=None),
        "an id of zeros": _with("zeros", id="00000000-0000-0000-0000-000000000000"),
        "a time before 1970": _with("1900", time="1900-01-01T00:00:00Z"),
        "a time in the far future": _with("9999", time="9999-12-31T23:59:59Z"),
        "a time with an offset": _with("offset", time="2026-11-20T12:00:00+14:00"),
    }


# -- Attributes of the envelope


def _envelopes() -> Iterator[HostileMessage]:
    wrong: dict[str, list[Any]] = {
        "specversion": ["0.3", "1.0.2", 1.0, None, ["1.0"], {}],
        "id": ["", "1", 7, None, ["a"], {}, True, "x" * 10_000, "' OR 1=1 --", CANARY],
        "source": [
            "",
            7,
            None,
            [],
            {},
            "/x\n",
            "/\x1b[31m",
            "/\u202ex",
            "/x" * 200,
            f"/{CANARY}\n",
        ],
        "type": [
            *("", 7, None, [], {}, "Order.Placed.v1", "order placed", "../../etc/passwd"),
            *("order.placed.v1\n", "\x1b[31m", "x" * 300, CANARY),
        ],
        "subject": ["", 7, [], {}, False, "a\nb", "\x00", "\u2066x", "s" * 300, f"{CANARY}\n"],
        "time": [
            *("", "yesterday", None, [], {}, True, "2026-11-20", "2026-11-20T12:00:00"),
            *("2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z"),
            *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", 1e18, -1e18, 10**30),
        ],
        "datacontenttype": ["text/xml", "", 7, [], f"text/{CANARY}"],
        "data": [None, "text", 7, True, [], [[]], ["a"]],
    }
    for attribute, values in wrong.items():
        for number, value in enumerate(values, 1):
            name = f"{attribute}, wrong {number}"
            body = _with(name, **{attribute: value})
            yield HostileMessage(name=name, topic="order.placed", body=body)
    for attribute in ("specversion", "id", "source", "type", "time", "data"):
        name = f"without {attribute}"
        left = {key: value for key, value in event(name).items() if key != attribute}
        body = json.dumps(left).encode()
        yield HostileMessage(name=name, topic="order.placed", body=body)
    unusual: dict[str, list[Any]] = {
        "correlationid": ["x", 7, [], {}, True, CANARY, "x" * 10_000],
        "causationid": ["x", 7, [], {}, True, CANARY, "\u202e"],
        "datacontenttype": [None, "APPLICATION/JSON; charset=utf-8", "text/vnd.x+json"],
    }
    for name, values in unusual.items():
        for number, value in enumerate(values, 1):
            body = _with(f"{name}, unusual {number}", **{name: value})
            yield HostileMessage(
                name=f"{name}, unusual {number}",
                topic="order.placed",
                body=body,
                fate=Fate.HANDLED,
            )
    for name, type_ in {
        "a version that nobody knows": "order.placed.v99",
        "a version of zero": "order.placed.v0",
        "a version of many digits": f"order.placed.v{'9' * 100}",
        "a type that nobody knows": "no.such",
    }.items():
        body = _with(name, type=type_)
        topic = type_.partition(".v")[0]
        yield HostileMessage(name=name, topic=topic, body=body, fate=Fate.EITHER)


# -- Data of each contract

_WRONG: dict[str, list[Any]] = {
    "order_id": ["", None, 7, ["a"], "x" * 65, "a b", "ORD\n1", "ORD-\u202e", "../1", CANARY],
    "customer_email": ["", None, 7, f"{CANARY}\nBcc: x@y.example", f"J <{CANARY}>", "x" * 300],
    "items": [{}, None, [], "x", {"a": 0}, {"a": -1}, {"a": 1.5}, {"a": "1"}, {CANARY: 1}, {"": 1}],
    "missing": [{}, None, {"a": 10**20}, {str(n): 1 for n in range(101)}, {"a": True}],
    "shipping_address": [
        "",
        " ",
        None,
        ["x"],
        "a\x00b",
        "a\nb",
        "\u202eb",
        "x" * 501,
        f"{CANARY}\t",
    ],
    "total_amount": [
        None,
        19.98,
        "x",
        "-1",
        "1e999999999",
        "NaN",
        "Infinity",
        "1.001",
        "9" * 50_000,
    ],
    "amount": [None, 1.5, "-0.01", "sNaN", "1e30", {}],
    "refunded_amount": [None, 1.5, "-0.01", [], "9" * 20],
    "currency": ["", None, "eur", "EURO", "E\u0440R", 7],
    "payment_method": ["", None, "x" * 65, "a\x1b[31m", "card;DROP", CANARY],
    "reason": ["", None, " ", "a\nb", "\u2067", "x" * 201, f"{CANARY}\x00"],
    "tracking_number": ["", None, "x" * 65, "<b>", CANARY],
    "carrier": ["", None, {}, "\x07", CANARY],
}
"""Values that a field must not have."""


def _data() -> Iterator[HostileMessage]:
    for topic, data in DATA.items():
        for field in data:
            for number, value in enumerate(_WRONG[field], 1):
                name = f"{topic}: {field}, wrong {number}"
                body = _with_data(name, topic, **{field: value})
                yield HostileMessage(name=name, topic=topic, body=body)
    topics = list(DATA)
    for topic, other in zip(topics, topics[1:] + topics[:1], strict=True):
        name = f"{topic} with the data of {other}"
        # Without the one that both have, where the other's data is valid.
        data = {key: value for key, value in DATA[other].items() if key not in DATA[topic]}
        yield HostileMessage(name=name, topic=topic, body=_with(name, topic, data=data))


# -- Properties, encoded by hand: no client encodes most of these


def _short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def _long(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack(">I", len(content)) + content


def _fields(*pairs: tuple[bytes, bytes]) -> bytes:
    return b"".join(_short(key) + value for key, value in pairs)


_FLAGS = {
    "content_type": 1 << 15,
    "content_encoding": 1 << 14,
    "headers": 1 << 13,
    "delivery_mode": 1 << 12,
    "priority": 1 << 11,
    "correlation_id": 1 << 10,
    "reply_to": 1 << 9,
    "expiration": 1 << 8,
    "message_id": 1 << 7,
    "timestamp": 1 << 6,
    "type": 1 << 5,
    "user_id": 1 << 4,
    "app_id": 1 << 3,
    "cluster_id": 1 << 2,
}
"""In the order of their values.

Source: https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, 4.2.6.1
"""


def encode_properties(**values: bytes) -> bytes:
    """The flags and the encoded values; headers are given as the content of their table."""
    flags, encoded = 0, b""
    for name, flag in _FLAGS.items():
        if name in values:
            flags |= flag
            value = values[name]
            encoded += _long(b"", value) if name == "headers" else value
    return struct.pack(">H", flags) + encoded


def _properties() -> Iterator[HostileMessage]:
    cases: dict[str, bytes] = {
        "no properties": encode_properties(),
        "priority 255": encode_properties(priority=b"\xff"),
        "delivery mode 0": encode_properties(delivery_mode=b"\x00"),
        "delivery mode 1": encode_properties(delivery_mode=b"\x01"),
        "delivery mode 255": encode_properties(delivery_mode=b"\xff"),
        "content type of an image": encode_properties(content_type=_short(b"image/png")),
        "content type that is not UTF-8": encode_properties(content_type=_short(b"\xff\xfe")),
        "content encoding gzip": encode_properties(content_encoding=_short(b"gzip")),
        "a reply address": encode_properties(reply_to=_short(b"amq.rabbitmq.reply-to")),
        "timestamp of the end of time": encode_properties(timestamp=b"\xff" * 8),
        "timestamp of zero": encode_properties(timestamp=bytes(8)),
        "message id that is not UTF-8": encode_properties(message_id=_short(b"\xff\xfe\x00")),
        "message id of NUL": encode_properties(message_id=_short(b"\x00" * 255)),
        "message id with a mail address": encode_properties(message_id=_short(CANARY.encode())),
        "type of another event": encode_properties(type=_short(b"order.cancelled.v1")),
        "type with control characters": encode_properties(type=_short(b"\x1b[2J\n")),
        "correlation id of 255 bytes": encode_properties(correlation_id=_short(b"\xff" * 255)),
        "a false application": encode_properties(app_id=_short(CANARY.encode())),
        "a cluster id": encode_properties(cluster_id=_short(b"rabbit")),
    }
    for name, properties in cases.items():
        yield _about_properties(name, properties, Fate.HANDLED)
    refused_or_not = {
        "a false user": encode_properties(user_id=_short(b"nobody")),
        "an expiration of zero": encode_properties(expiration=_short(b"0")),
        "an expiration that is no number": encode_properties(expiration=_short(b"soon")),
        "a negative expiration": encode_properties(expiration=_short(b"-1")),
        "flags of properties that do not exist": b"\x00\x02",
        "flags that continue": b"\x00\x01\x00\x00",
        "flags that never end": b"\x00\x01" * 50_000,
        "properties that end too early": b"\xff\xfc\x05a",
        "headers that end too early": b"\x20\x00" + struct.pack(">I", 1_000) + b"\x01a",
    }
    for name, properties in refused_or_not.items():
        yield _about_properties(name, properties, Fate.EITHER)


def _about_properties(name: str, properties: bytes, fate: Fate) -> HostileMessage:
    topic = "order.placed"
    return HostileMessage(
        name=name, topic=topic, body=valid(name), properties=properties, fate=fate
    )


def _nested(kind: bytes, depth: int) -> bytes:
    value = _long(kind, b"")
    for _ in range(depth - 1):
        value = _long(kind, _fields((b"a", value)) if kind == b"F" else value)
    return value


def _headers() -> Iterator[HostileMessage]:
    for name, content in _decodable_headers().items():
        yield _about_properties(name, encode_properties(headers=content), Fate.HANDLED)
    for name, content in _undecodable_headers().items():
        yield _about_properties(name, encode_properties(headers=content), Fate.DEAD)
    for name, content in _headers_for_the_broker().items():
        yield _about_properties(name, encode_properties(headers=content), Fate.EITHER)


def _decodable_headers() -> dict[str, bytes]:
    scalars = {
        "void": b"V",
        "boolean of 255": b"t\xff",
        "int8": b"b\x80",
        "uint8": b"B\xff",
        "int16": b"s\x80\x00",
        "uint16": b"u\xff\xff",
        "int32": b"I\x80\x00\x00\x00",
        "uint32": b"i\xff\xff\xff\xff",
        "int64": b"l\x80" + bytes(7),
        "float NaN": b"f" + struct.pack(">f", math.nan),
        "float infinity": b"f" + struct.pack(">f", -math.inf),
        "double NaN": b"d" + struct.pack(">d", math.nan),
        "double infinity": b"d" + struct.pack(">d", math.inf),
        "double of the smallest size": b"d" + struct.pack(">d", 5e-324),
        "decimal of scale 255": b"D\xff\x7f\xff\xff\xff",
        "decimal, negative": b"D\x02\xff\xff\xff\xff",
        "time after the year 9999": b"T" + struct.pack(">Q", 253_402_300_800),
        "time of 64 bits": b"T" + b"\x7f" + b"\xff" * 7,
        "text that is not UTF-8": _long(b"S", b"\xff\xfe"),
        "text of 100 kB": _long(b"S", b"x" * 100_000),
        "text that fills a frame": _long(b"S", b"x" * 131_030),  # the broker adds headers to it
        "bytes": _long(b"x", bytes(range(256))),
        "an empty table": _long(b"F", b""),
        "an empty array": _long(b"A", b""),
        "an array of all": _long(b"A", b"Vt\x01b\x01d" + struct.pack(">d", math.nan)),
    }
    headers = {f"header: {name}": _fields((b"h", value)) for name, value in scalars.items()}
    one = b"I\x00\x00\x00\x01"
    return headers | {
        "headers: none": b"",
        "headers: an empty key": _fields((b"", one)),
        "headers: a key of 255 bytes": _fields((b"k" * 255, one)),
        "headers: a key that is not UTF-8": _fields((b"\xff\xfe", one)),
        "headers: the same key twice": _fields((b"k", one), (b"k", _long(b"S", b"two"))),
        "headers: 5,000 keys": _fields(*((str(n).encode(), b"V") for n in range(5_000))),
        "headers: tables nested 3 deep": _fields((b"t", _nested(b"F", 3))),
        "headers: arrays nested 3 deep": _fields((b"a", _nested(b"A", 3))),
        "headers: a mail address": _fields((CANARY.encode(), _long(b"S", CANARY.encode()))),
        "headers: forged replays": _fields((b"shop-replays", b"l\x00\x00\x00\xff" + bytes(4))),
        "headers: replays as text": _fields((b"shop-replays", _long(b"S", b"many"))),
        "headers: a forged count of deliveries": _fields(
            (b"x-delivery-count", b"l\x00\x00\x00\x00\x7f\xff\xff\xff"),
            (b"x-acquired-count", b"l\x00\x00\x00\x00\x7f\xff\xff\xff"),
        ),
        "headers: a negative count of deliveries": _fields(
            (b"x-delivery-count", b"I\xff\xff\xff\xff")
        ),
        "headers: a count of deliveries as text": _fields((b"x-delivery-count", _long(b"S", b"9"))),
        "headers: a forged offset": _fields((b"x-stream-offset", b"l" + bytes(8))),
        "headers: an offset as text": _fields((b"x-stream-offset", _long(b"S", b"first"))),
        "headers: a forged death": _fields(
            (b"x-first-death-queue", _long(b"S", b"email")),
            (b"x-last-death-reason", _long(b"S", CANARY.encode())),
        ),
    }


def _undecodable_headers() -> dict[str, bytes]:
    deep = {
        f"headers: {kind} nested {depth} deep": _fields((b"n", _nested(code, depth)))
        for kind, code in {"tables": b"F", "arrays": b"A"}.items()
        for depth in (20, 700, 5_000)
    }
    mixed = _long(b"A", _long(b"F", _fields((b"a", _nested(b"A", 300)))))
    return deep | {
        "headers: arrays nested 20,000 deep": _fields((b"n", _nested(b"A", 20_000))),
        "headers: tables and arrays nested": _fields((b"n", mixed)),
        "headers: an array of 100,000 values": _fields((b"n", _long(b"A", b"V" * 100_000))),
        "headers: nested after others": _fields(
            (b"a", b"V"), (b"n", _nested(b"F", 900)), (b"z", b"V")
        ),
    }


def _headers_for_the_broker() -> dict[str, bytes]:
    """Headers that RabbitMQ reads, or may refuse."""
    death = _fields(
        (b"count", b"l\x7f" + b"\xff" * 7),
        (b"queue", _long(b"S", b"email")),
        (b"reason", _long(b"S", b"rejected")),
        (b"exchange", _long(b"S", b"events")),
        (b"routing-keys", _long(b"A", _long(b"S", b"order.placed"))),
        (b"time", b"T" + bytes(8)),
    )
    nobody = NAMES.encode()
    return {
        "headers: a type that does not exist": _fields((b"h", b"?")),
        "headers: text beyond the table": _fields((b"h", b"S\x7f\xff\xff\xff")),
        "headers: an array beyond the table": _fields((b"h", b"A\x7f\xff\xff\xff")),
        "headers: a key without a value": _short(b"h"),
        "headers: forged x-death": _fields((b"x-death", _long(b"A", _long(b"F", death)))),
        "headers: x-death as number": _fields((b"x-death", b"I\x00\x00\x00\x07")),
        "headers: x-death of texts": _fields((b"x-death", _long(b"A", _long(b"S", b"email")))),
        "headers: x-death of 100 tables": _fields(
            (b"x-death", _long(b"A", _long(b"F", death) * 100))
        ),
        "headers: CC to nobody": _fields((b"CC", _long(b"A", _long(b"S", nobody)))),
        "headers: BCC to nobody": _fields((b"BCC", _long(b"A", _long(b"S", nobody)))),
        "headers: CC as text": _fields((b"CC", _long(b"S", nobody))),
        "headers: CC of numbers": _fields((b"CC", _long(b"A", b"I\x00\x00\x00\x01"))),
        "headers: x-delay": _fields((b"x-delay", b"l\x7f" + b"\xff" * 7)),
        "headers: x-match": _fields((b"x-match", _long(b"S", b"any"))),
    }
