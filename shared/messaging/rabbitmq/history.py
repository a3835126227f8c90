"""Reads the stream `history` over AMQP 0.9.1.

Offsets have gaps, and only ever grow; a reading goes on where it was when its connection is lost.

Source: https://www.rabbitmq.com/docs/streams#consuming
"""

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime

from shared.errors import BrokerRefused, BrokerUnavailable
from shared.messaging.ports.history import HistoryRecord
from shared.messaging.rabbitmq.address import Address
from shared.messaging.rabbitmq.frames import Arrived
from shared.messaging.rabbitmq.session import open_session
from shared.messaging.rabbitmq.stream import PREFETCH, Stream, StreamConnection
from shared.messaging.topology import HISTORY

_TICK = 0.5
"""Seconds of silence after which a reading looks up."""

_EMPTY_AFTER = 4
"""Ticks of silence after which there is nothing: no more than a moment was ever seen."""

_TRIES = 8
"""Connections in a row that bring nothing."""


class RabbitHistory:
    """A reader of the stream. A reading is for one thread; `close` from any."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._closed = threading.Event()

    def first(self) -> HistoryRecord | None:
        """See the port."""
        with self._stream("first", prefetch=1) as stream:
            found = self._present(stream)
        return found[0].record if found else None

    def end(self) -> int:
        """See the port."""
        place = 0
        with self._stream("last") as stream:
            found = self._present(stream)
            while found:
                place = found[-1].record.offset + 1
                found = stream.rest()
        return place

    def read(
        self, *, start: int | datetime = 0, end: int | None = None
    ) -> Generator[HistoryRecord, None, None]:
        """See the port."""
        place, failed = _known_to_amqp(start), 0
        while not self._closed.is_set() and not _is_at(place, end):
            try:
                for each in self._until(place, end):
                    yield each
                    place, failed = each.offset + 1, 0
                if end is not None:
                    return
            except BrokerRefused:
                raise
            except BrokerUnavailable:
                failed += 1
                if failed == _TRIES:
                    raise
                self._closed.wait(min(0.1 * 2**failed, 5.0))

    def close(self) -> None:
        """See the port."""
        self._closed.set()

    def _present(self, stream: Stream) -> list[Arrived]:
        """What is there now, or a part of it; nothing if there is nothing."""
        silence = 0
        while not (found := stream.take(wait=_TICK)):
            silence += 1
            if silence >= _EMPTY_AFTER and self._is_empty():
                break
        return found

    def _until(self, start: int | datetime, end: int | None) -> Iterator[HistoryRecord]:
        place, silence = start, 0
        with self._stream(start) as stream:
            while not self._closed.is_set():
                arrived = stream.take(wait=_TICK)
                for _, record in arrived:
                    if _is_at(record.offset, end):
                        return
                    yield record
                    place = record.offset + 1
                silence = 0 if arrived else silence + 1
                if _is_at(place, end):
                    return
                if silence and end is not None and self._is_over(place, silence=silence):
                    return

    def _is_over(self, place: int | datetime, *, silence: int) -> bool:
        """Whether nothing is left before the end: the stream was made anew, or is not that new."""
        if isinstance(place, datetime):
            return silence >= _EMPTY_AFTER
        return place >= self.end()

    def _is_empty(self) -> bool:
        with open_session(self._address) as session:
            found = session.channel.queue_declare(HISTORY, passive=True)
        return bool(found.method.message_count == 0)

    @contextmanager
    def _stream(self, start: str | int | datetime, *, prefetch: int = PREFETCH) -> Iterator[Stream]:
        with open_session(self._address, StreamConnection) as session:
            yield Stream(session, HISTORY, start=start, prefetch=prefetch)


def _known_to_amqp(start: int | datetime) -> int | datetime:
    """AMQP's times begin in 1970, as streams do not."""
    return 0 if isinstance(start, datetime) and start.timestamp() < 0 else start


def _is_at(place: int | datetime, end: int | None) -> bool:
    return end is not None and isinstance(place, int) and place >= end
