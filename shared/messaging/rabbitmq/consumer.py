"""Consumes one queue: deliveries in, settlements out, on a connection of its own.

Guarantees: closing gracefully counts no attempt; a settlement after the connection was lost is
ignored, as the broker delivers that message again; a message that kills its process counts an
attempt of no other message, because a new consumer holds one delivery at a time. Memory is bounded:
what does not fit into the buffer is requeued, and consuming pauses until there is room.
"""

import threading
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import NamedTuple, TypeGuard

from pika import frame, spec
from pika.channel import Channel

from shared.errors import BrokerUnavailable
from shared.messaging.ports.consumer import SLOW_START_AFTER, Delivery, Outcome, Settlement
from shared.messaging.rabbitmq import pika_internals
from shared.messaging.rabbitmq.address import Address
from shared.messaging.rabbitmq.buffer import DeliveryBuffer
from shared.messaging.rabbitmq.connection import BrokerConnection
from shared.messaging.rabbitmq.wire import delivery

_PAGE = 16
"""Deliveries at a time to a consumer that does not settle them, such as a listing of dead letters.
AMQP limits their number only, and the broker would read the whole queue into its memory."""

_ISOLATE_TIMEOUT = 10.0
"""Seconds that `isolate` waits for the broker; after that the connection is probably lost."""


class _Token(NamedTuple):
    """Identifies a delivery; a tag is valid on its own channel only."""

    generation: int
    tag: int


class _Isolation(NamedTuple):
    token: _Token
    done: threading.Event


class RabbitConsumer(BrokerConnection):
    """A consumer with a connection of its own."""

    def __init__(
        self, address: Address, queue: str, *, prefetch: int, slow_start: bool, name: str
    ) -> None:
        super().__init__(address, name=name, reconnects=slow_start)
        self._queue = queue
        self._prefetch = prefetch
        self._buffer = DeliveryBuffer()
        self._successes = 0 if slow_start else SLOW_START_AFTER
        self._page = prefetch if slow_start else min(prefetch, _PAGE)
        self._page_remaining = 0
        self._is_paused = False  # until the buffer has room
        self._generation = 0  # of the channel
        self._unsettled: dict[int, None] = {}  # tags of this channel, in order of delivery
        self._consumer_tag: str | None = None
        self._current_prefetch = 0
        self._isolation: _Isolation | None = None
        self.is_consuming = False

    def take(self, limit: int, /, *, wait: float) -> list[Delivery]:
        self.ensure_running()
        taken = self._buffer.take(limit, wait=wait)
        if self._is_paused and self._buffer.has_room:
            self.submit(self._resume)
        if not taken and self.fatal_error is not None:
            self.ensure_running()
        return taken

    def settle(self, settlements: Sequence[Settlement]) -> None:
        if settlements:
            self.submit(lambda: self._settle(settlements))

    def isolate(self, delivery: Delivery) -> None:
        self._successes = 0  # also if the connection is lost now
        if isinstance(delivery.token, _Token):
            isolation = _Isolation(delivery.token, threading.Event())
            self._buffer.unblock()
            if self.submit(lambda: self._isolate(isolation)):
                isolation.done.wait(_ISOLATE_TIMEOUT)

    def wake(self) -> None:
        self._buffer.wake()

    def close(self) -> None:
        self._buffer.close()
        super().close()
        self.wake()

    # On the connection's thread.

    def _on_channel_open(self, channel: Channel) -> None:
        self._generation += 1
        pika_internals.nack_while_cancelling(channel)
        channel.add_on_cancel_callback(self._cancelled_by_broker)
        self._consume(channel)

    def _on_disconnected(self) -> None:
        self.is_consuming = False
        self._consumer_tag = None
        self._is_paused = False
        self._unsettled.clear()
        self._buffer.clear()
        self._end_isolation()

    def _on_pika_failure(self) -> None:
        # A message that pika cannot decode is redelivered until its limit; hold it alone.
        self._successes = 0

    def _on_fatal_error(self) -> None:
        self.wake()

    def _before_close(self, channel: Channel, close: Callable[[], None]) -> None:
        consumer_tag, self._consumer_tag = self._consumer_tag, None
        self.is_consuming = False

        def requeue_all_and_close(*_: object) -> None:
            channel.basic_nack(0, multiple=True, requeue=True)
            close()

        if consumer_tag is None:
            requeue_all_and_close()
        else:
            pika_internals.cancel(channel, consumer_tag, requeue_all_and_close)

    def _consume(self, channel: Channel) -> None:
        if self._isolation is not None and self._is_isolated():
            self._requeue_others(channel, self._isolation.token.tag)
            return
        self._end_isolation()
        if self._pauses():
            return
        self._current_prefetch = self._page if self._successes >= SLOW_START_AFTER else 1
        self._register(channel)

    def _register(self, channel: Channel) -> None:
        self._page_remaining = self._current_prefetch
        channel.basic_qos(prefetch_count=self._current_prefetch)
        self._consumer_tag = channel.basic_consume(
            self._queue, self._deliver, callback=self._registered
        )

    def _registered(self, _frame: frame.Method[spec.Basic.ConsumeOk]) -> None:
        self.is_consuming = True
        self._set_ready()

    def _pauses(self) -> bool:
        """Whether the buffer is full, so that `take` has to resume."""
        self._is_paused = True  # before the look, so that no `take` in between is missed
        self._is_paused = not self._buffer.has_room
        return self._is_paused

    def _resume(self) -> None:
        channel = self._channel
        if not self._is_paused or channel is None or not channel.is_open:
            return
        self._is_paused = False
        if self._consumer_tag is None:
            self._consume(channel)
        else:
            self._next_page(channel)

    def _next_page(self, channel: Channel) -> None:
        """Replace a consumer that holds all that it may, if more may be held.

        The earlier one stays until there is a new one, so that others see that this queue is read.
        """
        size = min(self._page, self._prefetch - len(self._unsettled))
        if size < 1 or self._consumer_tag is None or self._pauses():
            return
        earlier = self._consumer_tag
        self._current_prefetch = size
        self._register(channel)
        # With a callback, so that pika requeues what still arrives for it.
        channel.basic_cancel(earlier, callback=lambda _: None)

    def _deliver(
        self,
        channel: Channel,
        method: spec.Basic.Deliver,
        properties: spec.BasicProperties,
        body: bytes,
    ) -> None:
        token = _Token(self._generation, method.delivery_tag)
        arrived = delivery(self._queue, method, properties, body, token=token)
        if not self._buffer.put(arrived, is_required=self._is_paged):
            channel.basic_nack(token.tag, requeue=True)
            self._consume_again(channel)
            return
        self._unsettled[token.tag] = None
        self._page_remaining -= 1
        if self._is_paged and self._page_remaining <= 0:
            self._next_page(channel)

    @property
    def _is_paged(self) -> bool:
        return self._page < self._prefetch

    def _cancelled_by_broker(self, cancelled: frame.Method[spec.Basic.Cancel]) -> None:
        """The consumer timed out, or the queue was deleted."""
        channel = self._channel
        if channel is not None and channel.is_open:
            pika_internals.confirm_cancellation(channel, cancelled.method.consumer_tag)
            channel.basic_nack(0, multiple=True, requeue=True)
        error = f"the broker at {self.address} cancelled the consumer of {self._queue}"
        self.disconnect(BrokerUnavailable(error))

    def _settle(self, settlements: Sequence[Settlement]) -> None:
        channel = self._channel
        if channel is None or not channel.is_open:
            return
        done = set()
        for settled, outcome in settlements:
            token = settled.token
            if not self._holds(token):
                continue
            if outcome is Outcome.DONE:
                done.add(token.tag)
            else:
                del self._unsettled[token.tag]
                _return(channel, token.tag, outcome)
        self._acknowledge(channel, done)
        self._successes += len(done)
        if self._is_paged and self._page_remaining <= 0:
            self._next_page(channel)
        elif self._isolation is None:
            self._raise_prefetch(channel)
        elif self._isolation.done.is_set() and not self._is_isolated():
            self._consume(channel)

    def _holds(self, token: object) -> TypeGuard[_Token]:
        return (
            isinstance(token, _Token)
            and token.generation == self._generation
            and token.tag in self._unsettled
        )

    def _acknowledge(self, channel: Channel, done: set[int]) -> None:
        """Acknowledge in one frame up to the first unsettled tag, the others one by one."""
        first = list(takewhile(done.__contains__, self._unsettled))
        if first:
            channel.basic_ack(first[-1], multiple=True)
        for tag in done.difference(first):
            channel.basic_ack(tag)
        for tag in done:
            del self._unsettled[tag]

    def _raise_prefetch(self, channel: Channel) -> None:
        """End the slow start; a new prefetch applies to new consumers only."""
        is_started = self._successes >= SLOW_START_AFTER
        if is_started and self._current_prefetch < self._page and not self._is_paged:
            self._consume_again(channel)

    def _consume_again(self, channel: Channel) -> None:
        if self._consumer_tag is not None:
            consumer_tag, self._consumer_tag = self._consumer_tag, None
            channel.basic_cancel(consumer_tag, callback=lambda _: self._consume(channel))

    def _isolate(self, isolation: _Isolation) -> None:
        channel = self._channel
        self._successes = 0
        is_held = self._holds(isolation.token)
        # With a prefetch of 1 the broker sends no other delivery before this one is settled.
        is_alone = self._consumer_tag is not None and self._current_prefetch == 1
        if channel is None or not channel.is_open or not is_held or is_alone:
            isolation.done.set()
        elif self._isolation is None:
            self._isolation = isolation
            if self._is_paused:
                self._requeue_others(channel, isolation.token.tag)
            else:
                self._consume_again(channel)

    def _is_isolated(self) -> bool:
        return self._isolation is not None and self._isolation.token.tag in self._unsettled

    def _requeue_others(self, channel: Channel, isolated: int) -> None:
        """Requeue all but this delivery; the next consumer starts once it is settled.

        A new consumer's prefetch does not count deliveries of an earlier one on the channel.
        """
        for tag in [tag for tag in self._unsettled if tag != isolated]:
            channel.basic_nack(tag, requeue=True)
            del self._unsettled[tag]
        self._buffer.clear()
        self._is_paused = False
        # The broker answers in order, so after its answer to this it has requeued the others.
        channel.basic_qos(prefetch_count=1, callback=lambda _: self._others_requeued(channel))

    def _others_requeued(self, channel: Channel) -> None:
        if self._isolation is not None:
            self._isolation.done.set()
            if not self._is_isolated():
                self._consume(channel)

    def _end_isolation(self) -> None:
        if self._isolation is not None:
            self._isolation.done.set()
            self._isolation = None


def _return(channel: Channel, tag: int, outcome: Outcome) -> None:
    """A reject counts a failed attempt and delays the message; a nack does neither.

    Source: https://www.rabbitmq.com/docs/quorum-queues#delayed-retry
    """
    if outcome is Outcome.REQUEUE:
        channel.basic_nack(tag, requeue=True)
    else:
        pika_internals.reject(channel, tag, requeue=outcome is Outcome.RETRY)
