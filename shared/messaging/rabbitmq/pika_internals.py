"""A connection of pika's that no message can break."""

import contextlib
import struct

import pika
from pika import frame, spec
from pika.exceptions import AMQPError

_UNREADABLE = (AMQPError, ValueError, OverflowError, OSError, struct.error)
"""What decoding properties raises: a float that is no number, a time past the year 9999."""

_HEAD = ">BHLHHQ"
"""Of a content header's frame: kind, channel, size; class, weight, size of the body."""


class ReadingConnection(pika.SelectConnection):
    """Takes properties that cannot be decoded for none.

    One message with such a header would end the connection each time that it is delivered, with
    all that was delivered beside it, and could neither be handled nor shown nor removed.
    """

    def let_go(self) -> None:
        """Close the socket, where the loop ended before pika has."""
        if self._transport is not None and not self.is_closed:
            with contextlib.suppress(AssertionError):  # it has, and was about to tell
                self._transport.abort()

    def _read_frame(self) -> tuple[int, frame.Frame | frame.ProtocolHeader | None]:
        try:
            return super()._read_frame()
        except _UNREADABLE:
            kind, channel, size, _, _, body_bytes = struct.unpack_from(_HEAD, self._frame_buffer)
            if kind != spec.FRAME_HEADER:
                raise
            none = spec.BasicProperties()  # type: ignore[no-untyped-call]
            whole = spec.FRAME_HEADER_SIZE + size + spec.FRAME_END_SIZE
            return whole, frame.Header(channel, body_bytes, none)
