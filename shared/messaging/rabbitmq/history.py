"""Reads the stream `history` over AMQP 0.9.1.

Offsets increase, with gaps. After a lost connection reading continues behind the last record.

Source: https://www.rabbitmq.com/docs/streams#consuming
"""

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime

from pika.exceptions import ChannelClosedByBroker

from shared.errors import BrokerRefused, BrokerUnavailable, HistoryNotGranted
from shared.messaging.ports.history import HistoryRecord
from shared.messaging.rabbitmq.address import Address
from shared.messaging.rabbitmq.session import open_session
from shared.messaging.rabbitmq.stream import PREFETCH, StreamConsumer
from shared.messaging.topology import HISTORY

_WAIT = 0.5
"""Seconds to wait for records at a time."""

_MAX_EMPTY_WAITS = 4
"""Waits in a row without a record until the stream is checked for its end."""

_MAX_FAILURES = 8
"""Connections in a row that return no record."""


class RabbitHistory:
    """A reader of the stream. Each iteration of `read` is for one thread; `close` for any."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._closed = threading.Event()

    def first(self) -> HistoryRecord | None:
        with self._consume("first", prefetch=1) as stream:
            records = self._take_available(stream)
        return records[0] if records else None

    def end(self) -> int:
        end = 0
        with self._consume("last") as stream:
            records = self._take_available(stream)
            while records:
                end = records[-1].offset + 1
                records = stream.take_rest()
        return end

    def read(
        self, *, start: int | datetime = 0, end: int | None = None
    ) -> Generator[HistoryRecord, None, None]:
        if isinstance(start, datetime) and start.timestamp() < 0:
            start = 0  # AMQP cannot express a time before 1970
        position, failures = start, 0
        while not self._closed.is_set() and not _reaches(position, end):
            try:
                for record in self._read_once(position, end):
                    yield record
                    position, failures = record.offset + 1, 0
                if end is not None:
                    return
            except (BrokerRefused, HistoryNotGranted):
                raise
            except BrokerUnavailable:
                failures += 1
                if failures == _MAX_FAILURES:
                    raise
                self._closed.wait(min(0.1 * 2**failures, 5.0))

    def close(self) -> None:
        self._closed.set()

    def _take_available(self, stream: StreamConsumer) -> list[HistoryRecord]:
        """The first records of a new consumer; empty if the stream is empty."""
        empty_waits = 0
        while not (records := stream.take(wait=_WAIT)):
            empty_waits += 1
            if empty_waits >= _MAX_EMPTY_WAITS and self._is_empty():
                break
        return records

    def _read_once(self, start: int | datetime, end: int | None) -> Iterator[HistoryRecord]:
        """Read on one connection."""
        position, empty_waits = start, 0
        with self._consume(start) as stream:
            while not self._closed.is_set():
                records = stream.take(wait=_WAIT)
                for record in records:
                    if _reaches(record.offset, end):
                        return
                    yield record
                    position = record.offset + 1
                empty_waits = 0 if records else empty_waits + 1
                if _reaches(position, end):
                    return
                if empty_waits and end is not None and self._is_at_end(position, empty_waits):
                    return

    def _is_at_end(self, position: int | datetime, empty_waits: int) -> bool:
        """Whether the stream has no record at this position, as it was deleted and recreated."""
        if isinstance(position, datetime):
            return empty_waits >= _MAX_EMPTY_WAITS
        return position >= self.end()

    def _is_empty(self) -> bool:
        with open_session(self._address) as session:
            declared = session.channel.queue_declare(HISTORY, passive=True)
        return bool(declared.method.message_count == 0)

    @contextmanager
    def _consume(
        self, start: str | int | datetime, *, prefetch: int = PREFETCH
    ) -> Iterator[StreamConsumer]:
        with open_session(self._address) as session:
            try:
                stream = StreamConsumer(session, HISTORY, start=start, prefetch=prefetch)
            except ChannelClosedByBroker as error:
                if error.reply_code != 403:
                    raise
                user = self._address.user
                raise HistoryNotGranted(
                    f"the broker's user {user!r} may not read the history, only the operator may"
                ) from error
            yield stream


def _reaches(position: int | datetime, end: int | None) -> bool:
    return end is not None and isinstance(position, int) and position >= end
