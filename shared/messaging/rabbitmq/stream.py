"""Reads a stream through a consumer of a session's channel.

`x-stream-filter` would not help: the broker skips only chunks without a matching message, and in a
busy shop a chunk holds events of every type.

Source: https://www.rabbitmq.com/docs/stream-filtering
"""

import time
from datetime import datetime

from pika import spec
from pika.adapters.blocking_connection import BlockingChannel

from shared.errors import BrokerUnavailable
from shared.messaging.ports.history import HistoryRecord
from shared.messaging.rabbitmq.session import Session
from shared.messaging.rabbitmq.wire import body_of, flaw_of, text_of
from shared.messaging.topology import REPLAYS

PREFETCH = 64
"""Records, each of up to 1 MiB, that may be in memory at a time, here and at the broker."""

_ACKNOWLEDGE_EVERY = 16
"""Records. Larger values, also of PREFETCH, are hardly faster and cost the broker memory."""


class StreamConsumer:
    """A consumer of a stream; `start` is `first`, `last` (the last chunk), an offset, or a time."""

    def __init__(
        self, session: Session, name: str, *, start: str | int | datetime, prefetch: int = PREFETCH
    ) -> None:
        self._channel = session.channel
        self._connection = session.channel.connection
        self._prefetch = prefetch
        self._received: list[HistoryRecord] = []
        self._last_tag = 0
        self._unacknowledged = 0
        self._channel.basic_qos(prefetch_count=prefetch)
        self._channel.basic_consume(name, self._receive, arguments={"x-stream-offset": start})

    def take(self, *, wait: float) -> list[HistoryRecord]:
        """The records that have arrived; empty if none arrives within `wait` seconds.

        Raises:
            BrokerUnavailable: the stream was deleted.
        """
        deadline, remaining = time.monotonic() + wait, wait
        while not self._received and remaining >= 0:
            self._connection.process_data_events(time_limit=remaining)
            remaining = deadline - time.monotonic()
        taken, self._received = self._received, []
        if not taken and not self._channel.consumer_tags:
            raise BrokerUnavailable("the broker ended the stream's consumer: was it deleted?")
        self._unacknowledged += len(taken)
        if self._unacknowledged >= min(_ACKNOWLEDGE_EVERY, self._prefetch):
            self._acknowledge()
        return taken

    def take_rest(self) -> list[HistoryRecord]:
        """The records that follow now; empty only at the end of the stream.

        The broker sends more records on an acknowledgement, before it answers the next request.

        Source: deps/rabbit/src/rabbit_stream_queue.erl, settle
        """
        self._acknowledge()
        self._channel.basic_qos(prefetch_count=self._prefetch)
        return self.take(wait=0)

    def _receive(
        self,
        _channel: BlockingChannel,
        method: spec.Basic.Deliver,
        properties: spec.BasicProperties,
        body: bytes,
    ) -> None:
        self._last_tag = method.delivery_tag
        self._received.append(
            HistoryRecord(
                offset=(properties.headers or {})["x-stream-offset"],
                topic=text_of(method.routing_key),
                event_id=text_of(properties.message_id),
                type=text_of(properties.type),
                body=body_of(properties, body),
                is_replay=method.exchange == REPLAYS,
                user=text_of(properties.user_id),
                flaw=flaw_of(properties),
            )
        )

    def _acknowledge(self) -> None:
        if self._unacknowledged:
            self._channel.basic_ack(self._last_tag, multiple=True)
            self._unacknowledged = 0
