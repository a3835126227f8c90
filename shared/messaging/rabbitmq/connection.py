"""A connection to the broker that lives in a thread of its own and comes back by itself.

All of pika happens on that thread, heartbeats too; other threads hand it work with `call`.
"""

import logging
import random
import threading
from collections.abc import Callable

import pika
from pika.channel import Channel
from pika.exceptions import AMQPError
from tenacity import RetryCallState, Retrying, wait_random_exponential

from shared.errors import BrokerUnavailable
from shared.messaging.rabbitmq.address import Address
from shared.messaging.rabbitmq.errors import TooOld, is_refusal, unavailable, version
from shared.messaging.rabbitmq.pika_internals import ReadingConnection

_log = logging.getLogger(__name__)

_PATIENCE_WITH_REFUSALS = 4
"""Attempts. A broker that is starting refuses, for a moment, what it will grant."""

_GRACE = 5.0
"""Seconds that a clean end may take."""


class BrokerConnection:
    """What publisher and consumer have in common.

    A subclass says what to do with a new channel (`_opened`), with its loss (`_lost`), and before
    the end (`_leaving`); these and all that `call` is given run on the link's thread.

    Attributes:
        trouble: why there is no connection just now; None once there is.
        refused: the same, when it has been given up.
    """

    def __init__(self, address: Address, *, name: str) -> None:
        self.address = address.named(name)
        self._name = name
        self._connection: pika.SelectConnection | None = None
        self._channel: Channel | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._error: BaseException | None = None
        self._was_up = False
        self._refusals = 0
        self.trouble: BrokerUnavailable | None = None
        self.refused: BrokerUnavailable | None = None

    _comes_back = True
    """Whether it does, once its connection is lost; otherwise it is given up."""

    def _opened(self, channel: Channel) -> None:
        raise NotImplementedError

    def _lost(self) -> None:
        raise NotImplementedError

    def _leaving(self, then: Callable[[], None]) -> None:
        """Do what is left to do, and go on with `then`."""
        then()

    def ensure_running(self) -> None:
        """Start the thread, or start it again.

        Raises:
            BrokerUnavailable: once, when the broker had refused for good; later it tries anew.
        """
        with self._starting:
            refused, self.refused = self.refused, None
            if refused is not None:
                raise refused
            if self._stopping.is_set():
                raise BrokerUnavailable(f"{self._name} has been closed")
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def call(self, work: Callable[[], None]) -> None:
        """Have it done on the link's thread; without a connection there is nothing to be done."""
        connection = self._connection
        if connection is not None:
            connection.ioloop.add_callback_threadsafe(work)

    def close(self) -> None:
        """End in good order, within seconds."""
        with self._starting:
            self._stopping.set()
            thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        self.call(self._leave)
        thread.join(_GRACE)
        if thread.is_alive():
            self.call(self._stop_loop)
            thread.join(_GRACE)

    # On the link's thread.

    def is_up(self) -> None:
        """Called by the subclass once what it is for works."""
        self._was_up = True
        self._refusals = 0
        self.trouble = None

    def drop(self, error: BaseException) -> None:
        """Let go of the connection, to come back with another."""
        self._error = error
        if self._connection is not None and self._connection.is_open:
            self._connection.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                Retrying(
                    retry=lambda state: not self._is_over(state),
                    wait=wait_random_exponential(multiplier=0.5, max=30),
                    sleep=self._pause,
                    before_sleep=self._say,
                )(self._session)
            except BrokerUnavailable as error:
                self._give_up(error)
                return
            if not self._comes_back:
                lost = f"the connection to the broker at {self.address} was lost; try again"
                self._give_up(BrokerUnavailable(lost))
                return
            # It was up: the broker restarts, and everyone else comes back at this moment too.
            self._stopping.wait(random.uniform(0.05, 0.5))  # noqa: S311 - no secret

    def _is_over(self, state: RetryCallState) -> bool:
        """Whether to stop retrying: it was up, it was refused for good, or we are closing."""
        failed = state.outcome is not None and state.outcome.failed
        return not failed or self._stopping.is_set() or self._refusals >= _PATIENCE_WITH_REFUSALS

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    def _say(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        _log.warning("%s: %s; trying again", self._name, error)

    def _give_up(self, error: BrokerUnavailable) -> None:
        if not self._stopping.is_set():
            self.refused = error
            self._gave_up()

    def _gave_up(self) -> None:
        """Wake whoever waits."""

    def _session(self) -> None:
        """One connection, from its opening to its end; raises if it never came up."""
        self._error = None
        self._was_up = False
        if self._stopping.is_set():
            return
        try:
            self._live()
        except Exception as failure:  # noqa: BLE001 - whatever a frame of the broker sets off in pika
            self._error = failure
            self._broke()
        finally:
            self._connection = self._channel = None
            self._lost()
        if self._stopping.is_set():
            return
        error = self.trouble = unavailable(self._error or ConnectionResetError(), self.address)
        if self._was_up:
            _log.warning("%s: lost the connection: %s", self._name, error)
            return
        if isinstance(error, TooOld):
            self._refusals = _PATIENCE_WITH_REFUSALS
        elif self._error is not None and is_refusal(self._error):
            self._refusals += 1
        raise error

    def _broke(self) -> None:
        """A delivery, or the like, made pika itself fail."""

    def _live(self) -> None:
        connection = ReadingConnection(
            self.address.parameters,
            on_open_callback=self._connected,
            on_open_error_callback=self._ended,
            on_close_callback=self._ended,
        )
        self._connection = connection
        if self._stopping.is_set():
            connection.close()
        try:
            connection.ioloop.start()
        finally:
            connection.let_go()
            connection.ioloop.close()

    def _connected(self, connection: pika.SelectConnection) -> None:
        try:
            version(connection.server_properties)
        except TooOld as error:
            self.drop(error)
            return
        self._open_channel()

    def _open_channel(self) -> None:
        if self._connection is not None and self._connection.is_open:
            self._connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Channel) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._channel_closed)
        self._opened(channel)

    def _channel_closed(self, channel: Channel, reason: BaseException) -> None:
        if channel is self._channel:
            self._channel = None
            self.drop(reason)

    def _ended(self, _connection: pika.SelectConnection, reason: BaseException) -> None:
        self._error = self._error or reason
        self._stop_loop()

    def _stop_loop(self) -> None:
        if self._connection is not None:
            self._connection.ioloop.stop()

    def _leave(self) -> None:
        if self._channel is not None and self._channel.is_open:
            self._leaving(self._hang_up)
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        try:
            if self._connection is not None:
                self._connection.close()
        except AMQPError:
            self._stop_loop()
