"""Reads the stream `history` over AMQP 0.9.1.

Offsets have gaps, and only ever grow; a reading goes on where it was when its connection is lost.

Source: https://www.rabbitmq.com/docs/streams#consuming
"""

import threading
from collections.abc import Generator, Iterator
from datetime import datetime

from pika import spec

from shared.errors import BrokerRefused, BrokerUnavailable
from shared.messaging.port import Recorded
from shared.messaging.rabbitmq.address import Address
from shared.messaging.rabbitmq.session import talking_to
from shared.messaging.rabbitmq.wire import text_of
from shared.messaging.topology import HISTORY

_PREFETCH = 1000
_ACK_EVERY = 500
"""Measured: 1000 and 500 read 24,000 a second, 200 and 100 19,900, one by one 2,500."""

_TICK = 0.5
"""Seconds of silence after which a reading looks up."""

_EMPTY_AFTER = 4
"""Ticks of silence after which there is nothing: no more than a moment was ever seen."""

_TRIES = 8
"""Connections in a row that bring nothing."""

Start = str | int | datetime
"""As RabbitMQ takes it: `first`, `last` (the last chunk), an offset, or a time."""


class RabbitHistory:
    """A reader of the stream. A reading is for one thread; `close` from any."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._closed = threading.Event()

    def first(self) -> Recorded | None:
        """See the port."""
        return next(self._present("first"), None)

    def end(self) -> int:
        """See the port."""
        highest = -1
        for each in self._present("last"):
            highest = max(highest, each.offset)
        return highest + 1

    def read(
        self, *, start: int | datetime = 0, end: int | None = None
    ) -> Generator[Recorded, None, None]:
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

    def _present(self, start: str) -> Iterator[Recorded]:
        """What is there now, from `first` or `last` on."""
        found = False
        for each in self._delivered(start):
            if isinstance(each, Recorded):
                found = True
                yield each
            elif found or (each >= _EMPTY_AFTER and self._is_empty()):
                return

    def _until(self, start: int | datetime, end: int | None) -> Iterator[Recorded]:
        place = start
        for each in self._delivered(start):
            if self._closed.is_set():
                return
            if isinstance(each, Recorded):
                if _is_at(each.offset, end):
                    return
                yield each
                place = each.offset + 1
                if _is_at(place, end):
                    return
            elif end is not None and self._is_over(place, silence=each):
                return

    def _is_over(self, place: int | datetime, *, silence: int) -> bool:
        """Whether nothing is left before the end: the stream was made anew, or is not that new."""
        if isinstance(place, datetime):
            return silence >= _EMPTY_AFTER
        return place >= self.end()

    def _is_empty(self) -> bool:
        with talking_to(self._address) as session:
            found = session.channel.queue_declare(HISTORY, passive=True)
        return bool(found.method.message_count == 0)

    def _delivered(self, start: Start) -> Iterator[Recorded | int]:
        """Each that arrives; in silence how many ticks it has lasted.

        Raises:
            BrokerUnavailable: the connection is lost, or the silence too long.
        """
        with talking_to(self._address) as session:
            channel = session.channel
            channel.basic_qos(prefetch_count=_PREFETCH)
            arriving = channel.consume(
                HISTORY, arguments={"x-stream-offset": start}, inactivity_timeout=_TICK
            )
            taken = silence = 0
            for method, properties, body in arriving:
                if method is None or properties is None or body is None:
                    silence += 1
                    yield silence
                    continue
                taken, silence = taken + 1, 0
                yield _recorded(method, properties, body)
                if taken % _ACK_EVERY == 0:
                    channel.basic_ack(method.delivery_tag, multiple=True)


def _known_to_amqp(start: int | datetime) -> int | datetime:
    """AMQP's times begin in 1970, as streams do not."""
    return 0 if isinstance(start, datetime) and start.timestamp() < 0 else start


def _is_at(place: int | datetime, end: int | None) -> bool:
    return end is not None and isinstance(place, int) and place >= end


def _recorded(
    method: spec.Basic.Deliver, properties: spec.BasicProperties, body: bytes
) -> Recorded:
    return Recorded(
        offset=properties.headers["x-stream-offset"],
        topic=method.routing_key,
        event_id=text_of(properties.message_id),
        type=text_of(properties.type),
        body=body,
    )
