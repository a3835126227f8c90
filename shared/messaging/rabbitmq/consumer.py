"""The way out of one queue: deliveries in, outcomes out, on a connection of its own.

Guarantees: a graceful end counts no attempt; an outcome that comes after its connection is gone is
dropped, for the broker delivers that message again; a message that kills its process takes no
neighbours with it, since at first one alone is taken.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from typing import NamedTuple

from pika import frame, spec
from pika.channel import Channel
from pika.exceptions import ChannelClosed

from shared.messaging.ports.consumer import SLOW_START_AFTER, Delivery, Outcome, Settlement
from shared.messaging.rabbitmq.address import Address
from shared.messaging.rabbitmq.connection import BrokerConnection
from shared.messaging.rabbitmq.wire import delivery

_ALONE_SECONDS = 10.0
"""How long `isolate` waits for the broker; past that, its connection is as good as lost."""

_MOST_UNTAKEN_BYTES = 16 * 1024 * 1024
"""What has arrived and waits to be taken; the rest stays in the socket, and with the broker."""

_LONGEST_STOP = 5.0
"""Seconds without reading; past them the heartbeat would be late, and memory is the lesser evil."""


class _Token(NamedTuple):
    generation: int
    tag: int


class RabbitConsumer(BrokerConnection):
    """A consumer of one queue."""

    def __init__(
        self, address: Address, queue: str, *, prefetch: int, slow_start: bool, name: str
    ) -> None:
        super().__init__(address, name=name)
        self._queue = queue
        self._prefetch = prefetch
        self._comes_back = slow_start
        self._handled_well = 0 if slow_start else SLOW_START_AFTER
        self._generation = 0
        self._unsettled: dict[int, None] = {}  # tags of this channel, in order of delivery
        self._consumer_tag: str | None = None
        self._taken_at_once = 0
        self._arrived: deque[Delivery] = deque()
        self._untaken_bytes = 0
        self._stops_reading = True
        self._woken = False
        self._changed = threading.Condition()
        self._isolating: tuple[_Token, threading.Event] | None = None
        self._consuming = False

    @property
    def is_consuming(self) -> bool:
        """See the port."""
        return self._consuming

    def take(self, most: int, *, wait: float) -> list[Delivery]:
        """See the port."""
        self.ensure_running()
        with self._changed:
            self._changed.wait_for(
                lambda: self._arrived or self._woken or self.refused is not None, timeout=wait
            )
            self._woken = False
            taken = [self._arrived.popleft() for _ in range(min(most, len(self._arrived)))]
            self._untaken_bytes -= sum(len(each.body) for each in taken)
            self._changed.notify_all()
        if not taken and self.refused is not None:
            self.ensure_running()
        return taken

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """See the port."""
        if settlements:
            self.call(lambda: self._settle(settlements))

    def isolate(self, delivery: Delivery) -> None:
        """See the port."""
        if isinstance(delivery.token, _Token):
            self._read_on()
            alone = threading.Event()
            isolating = delivery.token, alone
            self.call(lambda: self._isolate(isolating))
            alone.wait(_ALONE_SECONDS)

    def wake(self) -> None:
        """See the port."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """See the port."""
        self._read_on()
        super().close()
        self.wake()

    def _read_on(self) -> None:
        """What comes next waits for no more room: the link's thread is needed for other work."""
        with self._changed:
            self._stops_reading = False
            self._changed.notify_all()

    # On the link's thread.

    def _opened(self, channel: Channel) -> None:
        with self._changed:
            self._generation += 1
        # pika rejects what arrives while it cancels, which would count as a failed attempt.
        channel.basic_reject = partial(_nack, channel)  # type: ignore[method-assign]
        channel.add_on_cancel_callback(self._cancelled_by_broker)
        self._consume(channel)

    def _isolate(self, isolating: tuple[_Token, threading.Event]) -> None:
        channel, tag = self._channel, self._consumer_tag
        self._handled_well = 0
        self._isolating = isolating
        if channel is None or not channel.is_open or isolating[0].generation != self._generation:
            self._alone()
            self._isolating = None
        elif tag is not None and self._taken_at_once == 1:
            self._alone()  # it is: the broker sends the next when this one has been settled
            self._isolating = None
        elif tag is not None:
            self._consumer_tag = None
            channel.basic_cancel(tag, callback=lambda _: self._consume(channel))
        # Else it is being cancelled already, and `_consume` comes next.

    def _hand_back_others(self, channel: Channel, kept: int) -> None:
        for tag in [each for each in self._unsettled if each != kept]:
            channel.basic_nack(tag, requeue=True)
            del self._unsettled[tag]
        self._forget_untaken()

    def _forget_untaken(self) -> None:
        with self._changed:
            self._arrived.clear()
            self._untaken_bytes = 0
            self._stops_reading = not self._stopping.is_set()

    def _alone(self) -> None:
        """The broker answers in order, so it has taken the others back."""
        if self._isolating is not None:
            self._isolating[1].set()

    def _consume(self, channel: Channel) -> None:
        if self._isolating is not None and self._isolating[0].tag in self._unsettled:
            # A consumer's prefetch does not know of what an earlier one holds on the channel, so
            # the next begins when this delivery has been settled.
            self._hand_back_others(channel, self._isolating[0].tag)
            channel.basic_qos(prefetch_count=1, callback=lambda _: self._alone())
            return
        self._isolating = None
        self._taken_at_once = self._prefetch if self._handled_well >= SLOW_START_AFTER else 1
        channel.basic_qos(prefetch_count=self._taken_at_once)
        self._consumer_tag = channel.basic_consume(
            self._queue, self._deliver, callback=self._registered
        )

    def _registered(self, _frame: frame.Method[spec.Basic.ConsumeOk]) -> None:
        self._consuming = True
        self.is_up()

    def _deliver(
        self,
        _channel: Channel,
        method: spec.Basic.Deliver,
        properties: spec.BasicProperties,
        body: bytes,
    ) -> None:
        token = _Token(self._generation, method.delivery_tag)
        self._unsettled[token.tag] = None
        arrived = delivery(self._queue, properties, body, is_again=method.redelivered, token=token)
        with self._changed:
            self._arrived.append(arrived)
            self._untaken_bytes += len(body)
            self._changed.notify_all()
            self._wait_for_room()

    def _wait_for_room(self) -> None:
        """Stop reading while much waits to be taken; once in vain is enough until there is room."""
        has_room = self._untaken_bytes <= _MOST_UNTAKEN_BYTES
        if not has_room and self._stops_reading:
            has_room = self._changed.wait_for(
                lambda: self._untaken_bytes <= _MOST_UNTAKEN_BYTES or not self._stops_reading,
                timeout=_LONGEST_STOP,
            )
        self._stops_reading = has_room and not self._stopping.is_set()

    def _cancelled_by_broker(self, ended: frame.Method[spec.Basic.Cancel]) -> None:
        """The consumer timed out, or the queue is gone; the channel is of no more use."""
        channel = self._channel
        if channel is not None and channel.is_open:
            # Settling alone revives one that timed out, and all that it then gets fails with the
            # channel; pika has forgotten it. Source: rabbitmq-server's issue 17317.
            cancel = spec.Basic.Cancel(ended.method.consumer_tag, nowait=True)  # type: ignore[no-untyped-call]
            channel._send_method(cancel)  # noqa: SLF001
            channel.basic_nack(0, multiple=True, requeue=True)
        self.drop(ChannelClosed(404, f"the broker has ended the consumer of {self._queue}"))

    def _lost(self) -> None:
        self._consuming = False
        self._consumer_tag = None
        self._unsettled.clear()
        self._alone()
        self._isolating = None
        with self._changed:
            self._generation += 1
        self._forget_untaken()

    def _broke(self) -> None:
        # A message that pika cannot decode comes again and again until its limit: alone, please.
        self._handled_well = 0

    def _gave_up(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _settle(self, settlements: Sequence[Settlement]) -> None:
        channel = self._channel
        if channel is None or not channel.is_open:
            return
        done = set()
        for tag, outcome in self._current(settlements):
            if outcome is Outcome.DONE:
                done.add(tag)
                continue
            del self._unsettled[tag]
            _send(channel, tag, outcome)
        self._acknowledge(channel, done)
        if self._isolating is not None and self._isolating[0].tag not in self._unsettled:
            self._handled_well += len(done)
            if self._isolating[1].is_set():
                self._consume(channel)
        else:
            self._take_more(channel, len(done))

    def _current(self, settlements: Sequence[Settlement]) -> list[tuple[int, Outcome]]:
        """Those of this channel that have not been settled yet."""
        tokens = [(each.token, outcome) for each, outcome in settlements]
        return [
            (token.tag, outcome)
            for token, outcome in tokens
            if isinstance(token, _Token)
            and token.generation == self._generation
            and token.tag in self._unsettled
        ]

    def _acknowledge(self, channel: Channel, done: set[int]) -> None:
        """All in one where no unsettled tag lies below, the rest one by one."""
        together = list(takewhile(done.__contains__, self._unsettled))
        if together:
            channel.basic_ack(together[-1], multiple=True)
        for tag in done.difference(together):
            channel.basic_ack(tag)
        for tag in done:
            del self._unsettled[tag]

    def _take_more(self, channel: Channel, handled_well: int) -> None:
        self._handled_well += handled_well
        enough = self._handled_well >= SLOW_START_AFTER and self._taken_at_once < self._prefetch
        if enough and self._consumer_tag is not None:
            # A prefetch changed on a live consumer has no effect.
            tag, self._consumer_tag = self._consumer_tag, None
            channel.basic_cancel(tag, callback=lambda _: self._consume(channel))

    def _leaving(self, then: Callable[[], None]) -> None:
        channel, tag = self._channel, self._consumer_tag
        if channel is None or tag is None:
            then()
            return

        def hand_back(_frame: frame.Method[spec.Basic.CancelOk]) -> None:
            channel.basic_nack(0, multiple=True, requeue=True)
            then()

        self._consuming = False
        self._consumer_tag = None
        channel.basic_cancel(tag, callback=hand_back)


def _nack(channel: Channel, tag: int = 0, requeue: bool = True) -> None:  # noqa: FBT001, FBT002 - as basic_reject
    channel.basic_nack(tag, requeue=requeue)


def _send(channel: Channel, tag: int, outcome: Outcome) -> None:
    """A reject counts as a failed attempt and is delayed, a nack is neither.

    Source: https://www.rabbitmq.com/docs/quorum-queues#delayed-retry
    """
    if outcome is Outcome.REQUEUE:
        channel.basic_nack(tag, requeue=True)
    else:
        Channel.basic_reject(channel, tag, requeue=outcome is Outcome.RETRY)
