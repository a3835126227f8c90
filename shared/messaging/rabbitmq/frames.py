"""Deliveries of a stream, from the bytes of their frames.

Reading a long history is decoding above all; this takes a quarter of the time that pika takes. Nor
can a header break it, since none is looked into: one with a time past the year 9999 would end
pika's connection at that place, again and again.

Source: https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, sections 2.3.5 and 4.2
"""

from typing import NamedTuple

from pika.exceptions import InvalidFrameError

from shared.messaging.ports.history import HistoryRecord

_METHOD, _HEADER, _BODY = 1, 2, 3
_HEAD, _END = 7, 0xCE
"""A frame is its kind, channel and size, in 7 bytes; that many bytes; and one for its end."""

_DELIVER = b"\x00\x3c\x00\x3c"
"""Class and method, with which a method's frame begins."""

_TEXT = 0
_HEADERS, _MESSAGE_ID, _TYPE = 1 << 13, 1 << 7, 1 << 5
_PROPERTIES = (
    (1 << 15, _TEXT),
    (1 << 14, _TEXT),
    (_HEADERS, _TEXT),
    (1 << 12, 1),
    (1 << 11, 1),
    (1 << 10, _TEXT),
    (1 << 9, _TEXT),
    (1 << 8, _TEXT),
    (_MESSAGE_ID, _TEXT),
    (1 << 6, 8),
    (_TYPE, _TEXT),
)
"""Flag and bytes of each up to the type, in their order."""

_OFFSET = b"x-stream-offset"

_SIZES = {
    ord(kind): size
    for kinds, size in (("V", 0), ("tbB", 1), ("su", 2), ("iIf", 4), ("D", 5), ("lLdT", 8))
    for kind in kinds
}
"""Bytes of a header's value; one of another kind begins with its length, in 4 bytes."""


class Arrived(NamedTuple):
    """A delivery, and the tag to acknowledge it by."""

    tag: int
    record: HistoryRecord


def is_delivery(buffer: bytes) -> bool:
    """Whether a delivery begins here, be it whole or not, or so little that it may be one."""
    if len(buffer) < _HEAD + len(_DELIVER):
        return buffer[:1] == b"\x01"
    return buffer[0] == _METHOD and buffer.startswith(_DELIVER, _HEAD)


def deliveries(buffer: bytes) -> tuple[list[Arrived], int]:
    """All whole ones at its beginning, and how many bytes they take.

    Raises:
        InvalidFrameError: these are no frames, or not in the order that the protocol has.
    """
    arrived: list[Arrived] = []
    place = 0
    while buffer[place + _HEAD : place + _HEAD + 4] == _DELIVER and buffer[place] == _METHOD:
        found = _delivery(buffer, place)
        if found is None:
            break
        one, place = found
        arrived.append(one)
    return arrived, place


def _delivery(buffer: bytes, method: int) -> tuple[Arrived, int] | None:
    """One that begins there, and where it ends; None until it is whole."""
    header = _end(buffer, method, _METHOD)
    end = header and _end(buffer, header, _HEADER)
    if not header or not end:
        return None
    left = _number(buffer, header + _HEAD + 4, 8)
    pieces = []
    while left > 0:
        piece, end = end + _HEAD, _end(buffer, end, _BODY)
        if not end:
            return None
        pieces.append(buffer[piece : end - 1])
        left -= len(pieces[-1])
    body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return _arrived(buffer, method + _HEAD + 4, header + _HEAD + 12, body), end


def _end(buffer: bytes, start: int, kind: int) -> int:
    """Where the frame that begins there ends; 0 until it is whole."""
    if len(buffer) < start + _HEAD:
        return 0
    end = start + _HEAD + _number(buffer, start + 3, 4) + 1
    if len(buffer) < end:
        return 0
    if buffer[start] != kind or buffer[end - 1] != _END:
        raise InvalidFrameError("a delivery is not whole")
    return end


def _arrived(buffer: bytes, method: int, properties: int, body: bytes) -> Arrived:
    tag = _after_text(buffer, method)  # of the consumer
    key = _after_text(buffer, tag + 9)  # of the delivery, whether it came before, the exchange
    offset, event_id, type_ = _properties(buffer, properties)
    record = HistoryRecord(
        offset=offset, topic=_text(buffer, key), event_id=event_id, type=type_, body=body
    )
    return Arrived(_number(buffer, tag, 8), record)


def _properties(buffer: bytes, start: int) -> tuple[int, str, str]:
    """Checkpoint, message id and type."""
    flags, at = _number(buffer, start, 2), start + 2
    offset, event_id, type_ = -1, "", ""
    for flag, size in _PROPERTIES:
        if flags & flag:
            if size:
                at += size
            elif flag == _HEADERS:
                end = at + 4 + _number(buffer, at, 4)
                offset, at = _offset(buffer[at + 4 : end]), end
            else:
                if flag == _MESSAGE_ID:
                    event_id = _text(buffer, at)
                elif flag == _TYPE:
                    type_ = _text(buffer, at)
                at += 1 + buffer[at]
    if offset < 0:
        raise InvalidFrameError("a delivery has no place in its stream")
    return offset, event_id, type_


def _offset(headers: bytes) -> int:
    """The place that the broker has added; -1 where there is none."""
    at = 0
    while at < len(headers):
        kind = _after_text(headers, at)
        if headers[at + 1 : kind] == _OFFSET:
            return _number(headers, kind + 1, 8)
        size = _SIZES.get(headers[kind])
        at = kind + 1 + (4 + _number(headers, kind + 1, 4) if size is None else size)
    return -1


def _number(buffer: bytes, start: int, length: int) -> int:
    return int.from_bytes(buffer[start : start + length], "big")


def _text(buffer: bytes, start: int) -> str:
    return buffer[start + 1 : _after_text(buffer, start)].decode(errors="replace")


def _after_text(buffer: bytes, start: int) -> int:
    return start + 1 + buffer[start]
