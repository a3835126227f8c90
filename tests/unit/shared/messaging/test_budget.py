"""How many deliveries are taken together."""

import tracemalloc
from base64 import b64encode
from collections import deque

import pytest

from shared.errors import MalformedEvent
from shared.events import UnknownEvent
from shared.messaging import budget, codec
from shared.messaging.codec import memory_of
from shared.messaging.parsing import MAX_SEPARATORS
from shared.messaging.ports.consumer import Delivery

ENVELOPE = (
    '{"specversion":"1.0","id":"0190f3a0-0000-7000-8000-000000000000","source":"/x","type":"a.b.v1",'
    '"time":"2026-01-01T00:00:00Z","data":{"d":%s}}'
)

_SPARE = 100
"""Separators of the envelope and around the values."""


def body_of(value: str) -> bytes:
    return (ENVELOPE % value).encode()


def list_of(value: str, separators: int) -> str:
    """As many of these values as the limit allows; each has so many separators with its comma."""
    return "[" + ",".join([value] * ((MAX_SEPARATORS - _SPARE) // separators)) + "]"


def text_of(characters: int) -> str:
    """Text of which Python stores each character in four bytes, because one needs them."""
    return '"' + "x" * characters + '\U0001f600"'


WORST = {
    "lists": list_of("[]", 2),
    "objects": list_of("{}", 2),
    "objects in objects": list_of('{"a":{"b":{"c":1}}}', 7),
    "objects with an empty key": list_of('{"":""}', 3),
    "lists in lists": list_of("[[[[1]]]]", 5),
    "numbers": list_of("1.5", 1),
    "many keys": "{" + ",".join(f'"{n}":1' for n in range((MAX_SEPARATORS - _SPARE) // 2)) + "}",
    "wide text": text_of(1_000_000),
    "short wide texts": list_of(text_of(90), 1),
}


def delivery(body: bytes) -> Delivery:
    return Delivery(queue="q", body=body, event_id="", type="", attempt=1, replays=0, token=None)


@pytest.mark.parametrize("name", WORST)
def test_an_event_takes_no_more_memory_than_the_budget_assumes(name: str) -> None:
    body = body_of(WORST[name])
    codec.decode(body, {})  # fills the caches of the JSON parser
    tracemalloc.start()

    event = codec.decode(body, {})

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert event.type == "a.b.v1"
    assert len(body) + peak <= memory_of(body)


@pytest.mark.parametrize("value", [WORST["lists"], WORST["objects in objects"], text_of(700_000)])
def test_an_event_with_its_data_as_base64_takes_no_more_memory_than_the_budget_assumes(
    value: str,
) -> None:
    data = f'"data_base64":"{b64encode(value.encode()).decode()}"'
    body = body_of("0").replace(b'"data":{"d":0}', data.encode())
    body = body.replace(b"{", b'{"datacontenttype":"application/json",', 1)
    codec.decode(body, {})
    tracemalloc.start()

    event = codec.decode(body, {})

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(event, UnknownEvent)
    assert event.data
    assert len(body) + peak <= memory_of(body)


@pytest.mark.parametrize("value", ["[]", "{}", "1", '{"a":1}', "[[[[]]]]"])
def test_a_body_of_one_mebibyte_of_small_values_is_refused_without_being_parsed(value: str) -> None:
    count = 900_000 // (len(value) + 1)
    body = body_of("[" + ",".join([value] * count) + "]")
    tracemalloc.start()

    with pytest.raises(MalformedEvent, match="more than 10000"):
        codec.decode(body, {})

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * len(body)
    assert memory_of(body) == len(body)


def test_all_that_fits_is_taken() -> None:
    waiting = deque(delivery(body_of("1")) for _ in range(300))

    taken = budget.take_from(waiting, 200)

    assert len(taken) == 200
    assert len(waiting) == 100


def test_no_more_is_taken_than_fits_into_memory() -> None:
    body = body_of(WORST["wide text"])
    waiting = deque(delivery(body) for _ in range(300))

    taken = budget.take_from(waiting, 200)

    assert 1 < len(taken) <= budget.MAX_TAKEN_BYTES // memory_of(body)
    assert len(taken) + len(waiting) == 300


def test_one_is_taken_however_large_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "MAX_TAKEN_BYTES", 1)
    waiting = deque([delivery(b"{}"), delivery(b"{}")])

    assert len(budget.take_from(waiting, 200)) == 1


def test_nothing_is_taken_of_nothing() -> None:
    assert budget.take_from(deque(), 200) == []
