"""Publishes with many messages unconfirmed at a time, and reports an answer for each.

Source: https://www.rabbitmq.com/docs/confirms#publisher-confirms
"""

import time
from collections.abc import Sequence
from functools import partial
from itertools import takewhile

from pika import frame, spec
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker

from shared.errors import BrokerUnavailable
from shared.messaging.codec import LARGEST_EVENT_BYTES
from shared.messaging.ports.publisher import Message
from shared.messaging.rabbitmq import pika_internals
from shared.messaging.rabbitmq.address import Address
from shared.messaging.rabbitmq.batch import Batch
from shared.messaging.rabbitmq.connection import BrokerConnection
from shared.messaging.rabbitmq.errors import broker_error
from shared.messaging.rabbitmq.wire import NOT_ENCODABLE, properties_of, target
from shared.messaging.topology import EVENTS

WINDOW = 500
"""Unconfirmed messages at most. A confirm takes a round trip and a disk sync; more gain little."""

_MIN_WRITE = WINDOW // 2
"""Messages to send at once while more are unsent: each write is a system call."""

_UNAVAILABLE_TIMEOUT = 5.0
"""Seconds without a connection, or with refusals only, until `publish` raises."""

_CONFIRM_TIMEOUT = 30.0
"""Seconds without an answer on an open connection until `publish` raises."""

_RESEND_DELAY = 0.2
"""Seconds until a message that was not accepted is sent again."""

_CAUSED_BY_MESSAGE = {403, 406}
"""Reply codes for a topic without permission, and for a message above the broker's limit."""


class RabbitPublisher(BrokerConnection):
    """A publisher with a connection of its own, which stays open between calls."""

    def __init__(self, address: Address, *, name: str) -> None:
        super().__init__(address, name=name)
        self._waiting: list[Batch] = []  # one per caller, in the order of their calls
        self._next_tag = 1
        self._ready = False
        self._blocked = False
        self._resend_scheduled = False
        self._last_was_nack = False

    def publish(self, messages: Sequence[Message]) -> list[str | None]:
        if not messages:
            return []
        self.ensure_running()
        batch = Batch(messages)
        self._waiting.append(batch)
        self.submit(self._send)
        try:
            self._wait(batch)
        finally:
            self._waiting.remove(batch)  # later answers are ignored
        if batch.error is not None:
            raise batch.error
        return batch.reasons

    def _wait(self, batch: Batch) -> None:
        last_answered, since = -1, time.monotonic()
        while not batch.finished.wait(0.1):
            if self.fatal_error is not None:
                self.ensure_running()
            # Of all batches, since earlier ones are sent first.
            answered = sum(each.answered for each in self._batches)
            if answered != last_answered:
                last_answered, since = answered, time.monotonic()
            silence, error = time.monotonic() - since, self._current_error()
            if silence > (_UNAVAILABLE_TIMEOUT if error else _CONFIRM_TIMEOUT):
                if error is None:
                    error = BrokerUnavailable(f"the broker at {self.address} confirms nothing")
                    self.submit(partial(self.disconnect, error))
                raise error

    def _current_error(self) -> BrokerUnavailable | None:
        broker = f"the broker at {self.address}"
        if not self._ready:
            return self.last_error or BrokerUnavailable(f"{broker} cannot be reached")
        if self._blocked:
            return BrokerUnavailable(f"{broker} accepts no messages: its memory or disk is full")
        if self._last_was_nack:
            return BrokerUnavailable(
                f"{broker} accepts no messages: a queue is full or has no majority"
            )
        return None

    @property
    def _batches(self) -> list[Batch]:
        """A copy, since other threads add and remove batches."""
        return [*self._waiting]

    # On the connection's thread.

    def _on_channel_open(self, channel: Channel) -> None:
        connection = channel.connection
        connection.add_on_connection_blocked_callback(lambda *_: self._set_blocked(blocked=True))
        connection.add_on_connection_unblocked_callback(lambda *_: self._set_blocked(blocked=False))
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._answered, callback=self._confirms_selected)

    def _confirms_selected(self, _frame: frame.Method[spec.Confirm.SelectOk]) -> None:
        self._next_tag = 1
        self._ready = True
        self._set_ready()
        self._send()

    def _set_blocked(self, *, blocked: bool) -> None:
        self._blocked = blocked
        self._send()

    def _on_disconnected(self) -> None:
        self._ready = self._blocked = self._resend_scheduled = self._last_was_nack = False
        self._resend_unconfirmed(has_poison=False)

    def _channel_closed(self, channel: Channel, reason: BaseException) -> None:
        """Open a new channel if a message is the reason, so that the other messages are sent."""
        if not isinstance(reason, ChannelClosedByBroker):
            super()._channel_closed(channel, reason)
        elif reason.reply_code not in _CAUSED_BY_MESSAGE:
            self._fail_all(broker_error(reason, self.address))
            super()._channel_closed(channel, reason)
        else:
            self._ready = False
            self._channel = None
            self._isolate_poison(reason.reply_text)
            # Not in this call: pika frees the channel's number after it.
            self.submit(self._open_channel)

    def _isolate_poison(self, reason: str) -> None:
        """Reject the message that closed the channel, or send the possible ones one by one."""
        batches = [batch for batch in self._batches if batch.unconfirmed]
        if len(batches) == 1 and len(batches[0].unconfirmed) == 1:
            _, index = batches[0].unconfirmed.popitem()
            batches[0].reject(index, f"the broker refuses it: {reason}")
        else:
            self._resend_unconfirmed(has_poison=True)

    def _resend_unconfirmed(self, *, has_poison: bool) -> None:
        for batch in self._batches:
            batch.resend_unconfirmed(has_poison=has_poison)

    def _fail_all(self, error: BrokerUnavailable) -> None:
        for batch in self._batches:
            batch.fail(error)

    def _send(self) -> None:
        """Send what fits into the window, also of the batches after one that awaits confirms."""
        if self._channel is None or not self._ready or self._blocked or self._resend_scheduled:
            return
        all_batches = self._batches
        poisoned = [batch for batch in all_batches if batch.possible_poison]
        batches, window, min_write = (
            (poisoned, 1, 1) if poisoned else (all_batches, WINDOW, _MIN_WRITE)
        )
        room = window - sum(len(batch.unconfirmed) for batch in all_batches)
        unsent = sum(len(batch.unsent) for batch in batches)
        if not unsent or room < min(min_write, unsent):
            return
        encoded: list[bytes] = []
        for batch in batches:
            self._encode(batch, self._channel, encoded, room)
        if encoded:
            pika_internals.write(self._channel, encoded)

    def _encode(self, batch: Batch, channel: Channel, encoded: list[bytes], room: int) -> None:
        number, max_frame_bytes = channel.channel_number, channel.connection.params.frame_max
        while batch.unsent and len(encoded) < room:
            index = batch.unsent.popleft()
            message = batch.messages[index]
            if len(message.body) > LARGEST_EVENT_BYTES:
                batch.reject(index, f"it has {len(message.body)} bytes; the limit is 1 MiB")
                continue
            try:
                message_frames = pika_internals.encode(
                    *target(message),
                    properties_of(message, user=self.address.user),
                    message.body,
                    channel=number,
                    max_frame_bytes=max_frame_bytes,
                )
            except NOT_ENCODABLE as error:
                batch.reject(index, f"AMQP cannot carry it: {type(error).__name__}")
                continue
            encoded.append(message_frames)
            batch.unconfirmed[self._next_tag] = index
            self._next_tag += 1

    def _returned(
        self,
        _channel: Channel,
        method: spec.Basic.Return,
        properties: spec.BasicProperties,
        _body: bytes,
    ) -> None:
        """No queue is bound for this message; its confirm follows."""
        if method.exchange == EVENTS:
            self._fail_all(BrokerUnavailable("no queue is bound to `events`, run `shop setup`"))
            return
        returned = (method.exchange, method.routing_key), properties.message_id
        for batch in self._batches:
            for tag, index in batch.unconfirmed.items():
                message = batch.messages[index]
                if (target(message), message.event_id) == returned:
                    del batch.unconfirmed[tag]
                    batch.reject(index, f"there is no queue {message.only_to!r} for replays")
                    return

    def _answered(self, answer: frame.Method[spec.Basic.Ack | spec.Basic.Nack]) -> None:
        for batch in self._batches:
            tags = _answered_tags(
                batch, answer.method.delivery_tag, multiple=answer.method.multiple
            )
            if isinstance(answer.method, spec.Basic.Ack):
                batch.confirm(tags)
                self._last_was_nack = False
            elif tags:
                batch.resend(tags)
                self._schedule_resend()
        self._send()

    def _schedule_resend(self) -> None:
        if not self._resend_scheduled and self._connection is not None:
            self._resend_scheduled = self._last_was_nack = True
            self._connection.ioloop.call_later(_RESEND_DELAY, self._resend)

    def _resend(self) -> None:
        self._resend_scheduled = False
        self._send()


def _answered_tags(batch: Batch, tag: int, *, multiple: bool) -> list[int]:
    if not multiple:
        return [tag] if tag in batch.unconfirmed else []
    # Tags ascend, as they are in the order of sending.
    return list(takewhile(lambda unconfirmed: unconfirmed <= tag, batch.unconfirmed))
