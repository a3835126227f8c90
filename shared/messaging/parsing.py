"""Parses JSON that others wrote: strictly, and with bounded memory.

What RFC 8259 leaves open is decided here. The same key twice in an object is refused, since two
readers would see two different facts. One byte order mark before the text is ignored; we never send
one.

Source: https://www.rfc-editor.org/rfc/rfc8259, sections 4 and 8.1;
https://www.rfc-editor.org/rfc/rfc7493, section 2
"""

import re
from typing import Any

from pydantic_core import from_json, to_json

from shared.errors import EventTooLarge, MalformedEvent

LARGEST_EVENT_BYTES = 1024 * 1024

MAX_SEPARATORS = 10_000
"""Of the characters { [ , : in a JSON text. A body of 1 MiB of `{}` would take 60 times its size in
memory when it is parsed; the largest order, of 100 lines, has 220."""

BASE64_KEY = b'"data_base64"'
"""The member that can hide a second JSON text in a body."""

_BYTES_PER_BYTE = 6
_BYTES_PER_SEPARATOR = 200
"""Measured with the bodies that take most: text with one character outside the Basic Multilingual
Plane, and objects in one another."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LARGE_TEXT_BYTES = 64 * 1024
"""Above this a copy would take too much memory."""

_TEXTS_AND_BRACES = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"(?P<colon>\s*+:)?|[{}]')
_SAFE_KEY = re.compile(r"[A-Za-z0-9_.-]{1,100}")


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse a body that is a JSON object.

    Raises:
        MalformedEvent: it is not a JSON object, or it has too many values, or a key twice.
        EventTooLarge: it is larger than 1 MiB; it is not parsed.
    """
    if len(body) > LARGEST_EVENT_BYTES:
        raise EventTooLarge(f"the message has {len(body)} bytes; the limit is 1 MiB")
    parsed = parse_value(body, "the message")
    if not isinstance(parsed, dict):
        raise MalformedEvent("the message is JSON, but not an object: it should be one CloudEvent")
    return parsed


def parse_value(text: bytes, name: str) -> Any:  # noqa: ANN401 - JSON of any shape
    """Parse a JSON text of any shape.

    Args:
        text: not larger than 1 MiB.
        name: what the text is, for the error.

    Raises:
        MalformedEvent: it is not JSON, or it has too many values, or a key twice in an object.
    """
    if has_too_many_values(text):
        raise MalformedEvent(f"{name} has more than {MAX_SEPARATORS} of {{ [ , :")
    try:
        parsed = from_json(text.removeprefix(BYTE_ORDER_MARK), allow_inf_nan=False)
    except ValueError as error:
        raise MalformedEvent(f"{name} is not JSON in UTF-8: {error}") from None
    if _may_have_key_twice(text, parsed):
        _require_single_keys(text, name)
    return parsed


def has_too_many_values(text: bytes) -> bool:
    """Whether a JSON text is not parsed, as it would take too much memory."""
    return len(text) > MAX_SEPARATORS and _separators(text) > MAX_SEPARATORS


def memory_of(body: bytes) -> int:
    """Bytes that a body and the event in it take at most, for budgets of what is held at a time."""
    if len(body) > LARGEST_EVENT_BYTES:
        return len(body)  # it is not parsed
    separators = _separators(body)
    if separators > MAX_SEPARATORS:
        return len(body)
    if BASE64_KEY in body:
        separators += MAX_SEPARATORS  # in the text that it holds
    return _BYTES_PER_BYTE * len(body) + _BYTES_PER_SEPARATOR * separators


def _separators(text: bytes) -> int:
    """How many values, keys and containers a JSON text has at most, without parsing it."""
    return len(text) - len(text.translate(None, b"{[,:"))


def _may_have_key_twice(text: bytes, parsed: object) -> bool:
    """False for a text of our own; whatever is dropped for its key had a colon."""
    if len(text) > _LARGE_TEXT_BYTES:
        return True
    written = to_json(parsed)
    if written == text:
        return False
    # Only this escape could hide, or add, a colon.
    return written.count(b":") != text.count(b":") or b"\\u003" in text


def _require_single_keys(text: bytes, name: str) -> None:
    """Refuse a key that is twice in an object of a valid JSON text; needs no memory for values."""
    open_objects: list[set[str]] = []
    for token in _TEXTS_AND_BRACES.finditer(text):
        start = token.start()
        if token["colon"]:
            _add_key(open_objects[-1], from_json(text[start : token.start("colon")]), name)
        elif text[start] == ord("{"):
            open_objects.append(set())
        elif text[start] == ord("}"):
            open_objects.pop()


def _add_key(keys: set[str], key: str, name: str) -> None:
    if key in keys:
        shown = f"the key {key}" if _SAFE_KEY.fullmatch(key) else "a key"
        raise MalformedEvent(f"{name} has {shown} twice in an object: it should be once")
    keys.add(key)
