"""Decodes AMQP field tables, such as the headers of a message, within limits.

Every value begins with its type and, where its size varies, its length. So a value that is skipped
or cannot be held does not hide the values after it, and no table can end a connection.

Source: https://www.rabbitmq.com/amqp-0-9-1-errata#section_3
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from struct import Struct
from struct import error as StructError  # noqa: N812 - an exception, which begins with a capital

MAX_DEPTH = 8
"""Tables and arrays in one another; the broker's own `x-death` has 3."""

MAX_NESTED_VALUES = 1_000
"""Values within the nested tables and arrays of one table."""

_LENGTH = Struct(">I")


class PartlyDecoded(dict[str | bytes, object]):
    """A table of which a part exceeds the limits or is not AMQP; that part is missing."""


class _NotDecodable(ValueError):
    """A value exceeds the limits, or is not AMQP."""


def decode(encoded: bytes, offset: int) -> tuple[dict[str | bytes, object], int]:
    """Decode a table; takes the place of pika's `decode_table`, and never fails for its content.

    A float that is not a number, an infinite one and a time after the year 9999 become None.

    Returns:
        The table, a `PartlyDecoded` one if a part is missing, and the offset after it.
    """
    start = offset + _LENGTH.size
    end = start + _LENGTH.unpack_from(encoded, offset)[0]
    table: dict[str | bytes, object] = {}
    limit = min(end, len(encoded))
    is_complete = limit == end
    decoder = _Decoder(encoded)
    try:
        while start < limit:
            key, start = _short_string(encoded, start)
            after = decoder.end_of(start, limit)
            try:
                table[key] = decoder.value(start, after, depth=0)
            except _NotDecodable:
                is_complete = False
            start = after
    except _NotDecodable:
        is_complete = False
    return (table if is_complete else PartlyDecoded(table)), end


class _Decoder:
    """Decodes values of one table, and counts those that are nested."""

    def __init__(self, encoded: bytes) -> None:
        self._encoded = encoded
        self._remaining = MAX_NESTED_VALUES

    def end_of(self, start: int, limit: int) -> int:
        """The offset after the value that starts here."""
        kind = self._encoded[start : start + 1]
        try:
            if kind in _SCALARS:
                end = start + 1 + _SCALARS[kind][0].size
            elif kind in _SIZED:
                end = start + 5 + int(_LENGTH.unpack_from(self._encoded, start + 1)[0])
            else:
                raise _NotDecodable
        except StructError:
            raise _NotDecodable from None
        if end > limit:
            raise _NotDecodable
        return end

    def value(self, start: int, end: int, *, depth: int) -> object:
        """The value between these offsets."""
        kind = self._encoded[start : start + 1]
        if kind in _SCALARS:
            layout, convert = _SCALARS[kind]
            return convert(*layout.unpack_from(self._encoded, start + 1))
        start += 5
        if kind == b"F":
            return self._table(start, end, depth=depth + 1)
        if kind == b"A":
            return self._array(start, end, depth=depth + 1)
        content = self._encoded[start:end]
        return content if kind == b"x" else _text(content)

    def _table(self, start: int, end: int, *, depth: int) -> dict[str | bytes, object]:
        table: dict[str | bytes, object] = {}
        while start < end:
            key, start = _short_string(self._encoded, start)
            table[key], start = self._nested(start, end, depth=depth)
        return table

    def _array(self, start: int, end: int, *, depth: int) -> list[object]:
        array: list[object] = []
        while start < end:
            value, start = self._nested(start, end, depth=depth)
            array.append(value)
        return array

    def _nested(self, start: int, end: int, *, depth: int) -> tuple[object, int]:
        self._remaining -= 1
        if depth >= MAX_DEPTH or self._remaining < 0:
            raise _NotDecodable
        after = self.end_of(start, end)
        return self.value(start, after, depth=depth), after


def _short_string(encoded: bytes, start: int) -> tuple[str | bytes, int]:
    end = start + 1 + encoded[start]
    return _text(encoded[start + 1 : end]), end


def _text(content: bytes) -> str | bytes:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _decimal(places: int, digits: int) -> Decimal:
    return Decimal((digits < 0, tuple(map(int, str(abs(digits)))), -places))


def _time(seconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


_SCALARS: dict[bytes, tuple[Struct, Callable[..., object]]] = {
    b"t": (Struct(">B"), bool),
    b"b": (Struct(">b"), int),
    b"B": (Struct(">B"), int),
    b"s": (Struct(">h"), int),
    b"U": (Struct(">h"), int),
    b"u": (Struct(">H"), int),
    b"I": (Struct(">i"), int),
    b"i": (Struct(">I"), int),
    b"l": (Struct(">q"), int),
    b"L": (Struct(">q"), int),
    b"f": (Struct(">f"), _finite),
    b"d": (Struct(">d"), _finite),
    b"D": (Struct(">Bi"), _decimal),
    b"T": (Struct(">Q"), _time),
    b"V": (Struct(">"), lambda: None),
}
"""Layout and conversion of the types with a fixed size."""

_SIZED = frozenset({b"S", b"x", b"A", b"F"})
"""The types that begin with their length in bytes."""
