"""The way in: many messages unconfirmed at a time, an answer for each.

Source: https://www.rabbitmq.com/docs/confirms#publisher-confirms
"""

import time
from collections.abc import Sequence
from functools import partial

from pika import frame, spec
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker

from shared.errors import BrokerUnavailable
from shared.messaging.codec import LARGEST_EVENT_BYTES
from shared.messaging.ports.publisher import Message
from shared.messaging.rabbitmq.address import Address
from shared.messaging.rabbitmq.batch import Batch
from shared.messaging.rabbitmq.connection import BrokerConnection
from shared.messaging.rabbitmq.errors import unavailable
from shared.messaging.rabbitmq.wire import UNSENDABLE, frames, target
from shared.messaging.topology import EVENTS

WINDOW = 500
"""Messages unconfirmed at most. A confirm is a round trip and a sync to disk; more gains little."""

_REFILL = WINDOW // 2
"""Sending few at a time would cost a system call each."""

_PATIENCE = 5.0
"""Seconds without a connection, or with nothing but refusals, until the caller hears of it."""

_SILENCE = 30.0
"""Seconds without any answer on a connection that lives."""

_BACKOFF = 0.2
"""Seconds until what was refused for now is sent again."""

_THE_MESSAGES_FAULT = {403, 406}
"""No permission for its topic; larger than the broker allows."""


class RabbitPublisher(BrokerConnection):
    """A publisher with a connection of its own, which it keeps alive between calls."""

    def __init__(self, address: Address, *, name: str) -> None:
        super().__init__(address, name=name)
        self._calls: list[Batch] = []  # of those who wait, in the order in which they came
        self._next_tag = 1
        self._ready = False
        self._blocked = False
        self._backing_off = False
        self._refusing = False

    def publish(self, messages: Sequence[Message]) -> list[str | None]:
        """Send all, and wait until the broker has answered for each; see the port."""
        if not messages:
            return []
        self.ensure_running()
        batch = Batch(messages)
        self._calls.append(batch)
        self.call(self._pump)
        try:
            self._wait(batch)
        finally:
            # What is still unconfirmed of it is answered later, to nobody.
            self._calls.remove(batch)
        if batch.error is not None:
            raise batch.error
        return batch.reasons

    def _wait(self, batch: Batch) -> None:
        answers, since = -1, time.monotonic()
        while not batch.finished.wait(0.1):
            if self.refused is not None:
                self.ensure_running()
            heard = sum(each.answers for each in self._batches)  # this one may wait for another
            if heard != answers:
                answers, since = heard, time.monotonic()
            silent, trouble = time.monotonic() - since, self._trouble()
            if silent > (_PATIENCE if trouble else _SILENCE):
                if trouble is None:
                    trouble = BrokerUnavailable(f"the broker at {self.address} confirms nothing")
                    self.call(partial(self.drop, trouble))
                raise trouble

    def _trouble(self) -> BrokerUnavailable | None:
        at = f"the broker at {self.address}"
        if not self._ready:
            return self.trouble or BrokerUnavailable(f"{at} cannot be reached")
        if self._blocked:
            return BrokerUnavailable(f"{at} takes no messages: its memory or disk is full")
        if self._refusing:
            return BrokerUnavailable(f"{at} takes no messages: a queue is full or has no majority")
        return None

    @property
    def _batches(self) -> list[Batch]:
        """Callers come and go meanwhile."""
        return [*self._calls]

    # On the link's thread.

    def _opened(self, channel: Channel) -> None:
        connection = channel.connection
        connection.add_on_connection_blocked_callback(lambda *_: self._now_blocked(blocked=True))
        connection.add_on_connection_unblocked_callback(lambda *_: self._now_blocked(blocked=False))
        channel.add_on_return_callback(self._came_back)
        channel.confirm_delivery(self._answered, callback=self._confirming)

    def _confirming(self, _frame: frame.Method[spec.Confirm.SelectOk]) -> None:
        self._next_tag = 1
        self._ready = True
        self.is_up()
        self._pump()

    def _now_blocked(self, *, blocked: bool) -> None:
        self._blocked = blocked
        self._pump()

    def _lost(self) -> None:
        self._ready = self._blocked = self._backing_off = self._refusing = False
        self._unknown(suspicious=False)

    def _channel_closed(self, channel: Channel, reason: BaseException) -> None:
        """One message can close the channel; whichever it was, the others must go on."""
        said = reason if isinstance(reason, ChannelClosedByBroker) else None
        if said is None or said.reply_code not in _THE_MESSAGES_FAULT:
            if said is not None:
                self._fail(unavailable(said, self.address))
            super()._channel_closed(channel, reason)
            return
        self._ready = False
        self._channel = None
        self._blame(said.reply_text)
        # Only once pika has let go of the channel's number, which is after this call.
        self.call(self._open_channel)

    def _blame(self, text: str) -> None:
        sent = [each for each in self._batches if each.unconfirmed]
        if len(sent) == 1 and len(sent[0].unconfirmed) == 1:
            _, index = sent[0].unconfirmed.popitem()
            sent[0].set_aside(index, f"the broker refuses it: {text}")
        else:
            self._unknown(suspicious=True)

    def _unknown(self, *, suspicious: bool) -> None:
        for each in self._batches:
            each.unknown(suspicious=suspicious)

    def _fail(self, error: BrokerUnavailable) -> None:
        for each in self._batches:
            each.fail(error)

    def _pump(self) -> None:
        """Send what the window has room for; while one batch waits for its last, of the next."""
        held_up = not self._ready or self._blocked or self._backing_off
        if self._channel is None or held_up:
            return
        everything = self._batches
        suspicious = [each for each in everything if each.possible_poison]
        batches, window, least = (suspicious, 1, 1) if suspicious else (everything, WINDOW, _REFILL)
        room = window - sum(len(each.unconfirmed) for each in everything)
        waiting = sum(len(each.waiting) for each in batches)
        if not waiting or room < min(least, waiting):
            return
        ready: list[bytes] = []
        for each in batches:
            self._encode(each, self._channel, ready, room)
        if ready:
            # pika's basic_publish makes three writes of each message and does a third of the speed.
            self._channel.connection._output_marshaled_frames([b"".join(ready)])  # noqa: SLF001

    def _encode(self, batch: Batch, channel: Channel, ready: list[bytes], room: int) -> None:
        most_bytes = channel.connection.params.frame_max
        while batch.waiting and len(ready) < room:
            index = batch.waiting.popleft()
            message = batch.messages[index]
            if len(message.body) > LARGEST_EVENT_BYTES:
                batch.set_aside(index, f"it has {len(message.body)} bytes; 1 MiB is most")
                continue
            try:
                encoded = frames(message, channel=channel.channel_number, most_bytes=most_bytes)
            except UNSENDABLE as error:
                batch.set_aside(index, f"AMQP cannot carry it: {type(error).__name__}")
                continue
            ready.append(encoded)
            batch.unconfirmed[self._next_tag] = index
            self._next_tag += 1

    def _came_back(
        self,
        _channel: Channel,
        method: spec.Basic.Return,
        properties: spec.BasicProperties,
        _body: bytes,
    ) -> None:
        """No queue is bound for it; its confirm comes next."""
        if method.exchange == EVENTS:
            self._fail(BrokerUnavailable("no queue is bound to `events`, run `shop setup`"))
            return
        sent = (method.exchange, method.routing_key), properties.message_id
        for batch in self._batches:
            for tag, index in batch.unconfirmed.items():
                message = batch.messages[index]
                if (target(message), message.event_id) == sent:
                    del batch.unconfirmed[tag]
                    batch.set_aside(index, f"no queue {message.only_to!r} takes replays")
                    return

    def _answered(self, answer: frame.Method[spec.Basic.Ack | spec.Basic.Nack]) -> None:
        for batch in self._batches:
            tags = self._tags(batch, answer.method.delivery_tag, multiple=answer.method.multiple)
            if isinstance(answer.method, spec.Basic.Ack):
                batch.confirmed(tags)
                self._refusing = False
            elif tags:
                batch.refused_for_now(tags)
                self._back_off()
        self._pump()

    @staticmethod
    def _tags(batch: Batch, tag: int, *, multiple: bool) -> list[int]:
        if not multiple:
            return [tag] if tag in batch.unconfirmed else []
        tags = []
        for each in batch.unconfirmed:  # in the order of sending, so lower tags come first
            if each > tag:
                break
            tags.append(each)
        return tags

    def _back_off(self) -> None:
        if not self._backing_off and self._connection is not None:
            self._backing_off = self._refusing = True
            self._connection.ioloop.call_later(_BACKOFF, self._try_again)

    def _try_again(self) -> None:
        self._backing_off = False
        self._pump()
