import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import MalformedEvent
from shared.messaging.parsing import parse_object, parse_value

KEYS = st.sampled_from(['"a"', '"b"', '"\\u0061"', '":"', '"\\u003a"', '"c\\""', '"\\\\"', '""'])
SCALARS = st.sampled_from(
    ["1", "null", '"a:b"', '"\\u003a"', '"x\\"y\\\\"', '"{"', '"}:"', '":\\""', "1.5e3", '"é:"']
)


def _object(below: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    colon = st.sampled_from([":", " : ", "\n:\t"])
    members = st.lists(st.tuples(KEYS, colon, below).map("".join), max_size=4)
    return members.map(lambda each: f"{{{','.join(each)}}}")


TEXTS = st.recursive(
    SCALARS,
    lambda below: (
        st.lists(below, max_size=3).map(lambda items: f"[{','.join(items)}]") | _object(below)
    ),
    max_leaves=12,
)


def _has_a_key_twice(text: str) -> bool:
    found: list[object] = []

    def collect(pairs: list[tuple[str, object]]) -> None:
        found.extend(pairs[len({key for key, _ in pairs}) :])

    json.loads(text, object_pairs_hook=collect)
    return bool(found)


@given(text=TEXTS, padding=st.sampled_from(["", " " * 70_000]))
def test_exactly_a_text_with_a_key_twice_in_an_object_is_refused(text: str, padding: str) -> None:
    try:
        parsed = parse_value((text + padding).encode(), "the text")
    except MalformedEvent as refused:
        assert _has_a_key_twice(text)
        assert "twice in an object" in str(refused)  # noqa: PT017 - the other outcome is below
    else:
        assert not _has_a_key_twice(text)
        assert parsed == json.loads(text)


def test_the_key_that_is_there_twice_is_named_if_it_can_hold_nothing_personal() -> None:
    with pytest.raises(MalformedEvent, match=r"^the message has the key total_amount twice"):
        parse_object(b'{"total_amount": "1.00", "total_amount": "2.00"}')
    with pytest.raises(MalformedEvent, match=r"^the message has a key twice"):
        parse_object(b'{"jane@example.com": 1, "jane@example.com": 1}')


def test_one_byte_order_mark_is_ignored() -> None:
    assert parse_object(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
    with pytest.raises(MalformedEvent, match="not JSON in UTF-8"):
        parse_object(b"\xef\xbb\xbf" * 2 + b"{}")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a": "\\ud800"}', "hex escape"),
        (b'{"a": "\\udc00\\ud800"}', "lone"),
        (b'{"a": NaN}', "expected value"),
        (b'{"a": -Infinity}', "line 1 column"),
        ('{"a": 1}'.encode("utf-16"), "expected value"),
        (b'{"a": "\xff"}', "unicode"),
        (b'{"a": "\n"}', "control character"),
        (b'{"a": 1,}', "trailing comma"),
        (b"{'a': 1}", "key must be a string"),
        (b'{"a": 01}', "number"),
        (b"", "EOF"),
    ],
)
def test_what_is_no_json_is_refused_with_the_reason(text: bytes, reason: str) -> None:
    with pytest.raises(MalformedEvent, match=rf"^the message is not JSON in UTF-8: .*{reason}"):
        parse_object(text)
