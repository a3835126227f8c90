"""A broker connection on a thread of its own, which reconnects automatically.

Only that thread uses pika, and it sends the heartbeats; other threads `submit` work.
"""

import logging
import random
import threading
from collections.abc import Callable

import pika
from pika.channel import Channel
from pika.exceptions import AMQPError
from tenacity import RetryCallState, Retrying, sleep_using_event, wait_random_exponential

from shared.errors import BrokerTooOld, BrokerUnavailable
from shared.messaging.rabbitmq import pika_internals
from shared.messaging.rabbitmq.address import Address
from shared.messaging.rabbitmq.errors import broker_error, is_refusal, supported_version

_log = logging.getLogger(__name__)

_MAX_REFUSALS = 4
"""Attempts; a broker that is starting refuses for a moment what it grants later."""

_CLOSE_TIMEOUT = 5.0
"""Seconds for a graceful close; then the loop is stopped."""


class BrokerConnection:
    """The base of publisher and consumer.

    A subclass overrides the hooks `_on_…` and `_before_close`. They and all submitted work run on
    the connection's thread.

    Attributes:
        last_error: why there is no connection now; None while there is one.
        fatal_error: why the thread ended without being closed; None otherwise.
    """

    def __init__(self, address: Address, *, name: str, reconnects: bool = True) -> None:
        """Connect on the first `ensure_running`.

        Args:
            name: of the thread, in logs, and of the connection at the broker.
            reconnects: False to end with a `fatal_error` when an open connection is lost.
        """
        self.address = address.with_connection_name(name)
        self.last_error: BrokerUnavailable | None = None
        self.fatal_error: BrokerUnavailable | None = None
        self._name = name
        self._reconnects = reconnects
        self._connection: pika.SelectConnection | None = None
        self._channel: Channel | None = None
        self._thread: threading.Thread | None = None
        self._thread_lock = threading.Lock()
        self._closing = threading.Event()
        self._disconnect_reason: BaseException | None = None
        self._was_ready = False
        self._refusals = 0

    def _on_channel_open(self, channel: Channel) -> None:
        """Use the new channel, then call `_set_ready`."""
        raise NotImplementedError

    def _on_disconnected(self) -> None:
        """Drop the state of the connection."""
        raise NotImplementedError

    def _on_pika_failure(self) -> None:
        """Called when pika itself failed, as on a frame that it cannot decode."""

    def _on_fatal_error(self) -> None:
        """Wake the threads that wait for the connection."""

    def _before_close(self, channel: Channel, close: Callable[[], None]) -> None:  # noqa: ARG002 - a hook
        """Finish with the channel, then call `close`."""
        close()

    def ensure_running(self) -> None:
        """Start the thread if it is not running.

        Raises:
            BrokerUnavailable: the `fatal_error`, once; the next call starts the thread again. Or
                the connection has been closed.
        """
        with self._thread_lock:
            error, self.fatal_error = self.fatal_error, None
            if error is not None:
                raise error
            if self._closing.is_set():
                raise BrokerUnavailable(f"{self._name} has been closed")
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def submit(self, work: Callable[[], None]) -> bool:
        """Run `work` on the connection's thread; returns False if there is no connection."""
        connection = self._connection
        if connection is not None:
            connection.ioloop.add_callback_threadsafe(work)
        return connection is not None

    def close(self) -> None:
        """Close gracefully; blocks for some seconds at most."""
        with self._thread_lock:
            self._closing.set()
            thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        self.submit(self._close_gracefully)
        thread.join(_CLOSE_TIMEOUT)
        if thread.is_alive():
            self.submit(self._stop_loop)
            thread.join(_CLOSE_TIMEOUT)

    # On the connection's thread.

    def disconnect(self, reason: BaseException) -> None:
        """Close this connection, to continue with a new one."""
        self._disconnect_reason = reason
        if self._connection is not None and self._connection.is_open:
            self._connection.close()

    def _set_ready(self) -> None:
        self._was_ready = True
        self._refusals = 0
        self.last_error = None

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                Retrying(
                    retry=self._should_retry,
                    wait=wait_random_exponential(multiplier=0.5, max=30),
                    sleep=sleep_using_event(self._closing),
                    before_sleep=self._log_retry,
                )(self._connect_once)
            except BrokerUnavailable as error:
                self._end_with(error)
                return
            if not self._reconnects:
                lost = f"the connection to the broker at {self.address} was lost; try again"
                self._end_with(BrokerUnavailable(lost))
                return
            # After a restart of the broker all clients reconnect at the same time.
            self._closing.wait(random.uniform(0.05, 0.5))  # noqa: S311 - no secret

    def _should_retry(self, state: RetryCallState) -> bool:
        failed = state.outcome is not None and state.outcome.failed
        return failed and not self._closing.is_set() and self._refusals < _MAX_REFUSALS

    def _log_retry(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        _log.warning("%s: cannot connect, retrying: %s", self._name, error)

    def _end_with(self, error: BrokerUnavailable) -> None:
        if not self._closing.is_set():
            self.fatal_error = error
            self._on_fatal_error()

    def _connect_once(self) -> None:
        """Connect, and return when the connection ends; raises if it never became ready."""
        self._disconnect_reason = None
        self._was_ready = False
        if self._closing.is_set():
            return
        try:
            self._run_loop()
        except Exception as failure:  # noqa: BLE001 - pika raises anything for a bad frame
            self._disconnect_reason = failure
            self._on_pika_failure()
        finally:
            self._connection = self._channel = None
            self._on_disconnected()
        if self._closing.is_set():
            return
        reason = self._disconnect_reason or ConnectionResetError()
        error = self.last_error = broker_error(reason, self.address)
        if self._was_ready:
            _log.warning("%s: connection lost: %s", self._name, error)
            return
        if isinstance(error, BrokerTooOld):
            self._refusals = _MAX_REFUSALS
        elif is_refusal(reason):
            self._refusals += 1
        raise error

    def _run_loop(self) -> None:
        connection = pika.SelectConnection(
            self.address.parameters,
            on_open_callback=self._connection_opened,
            on_open_error_callback=self._connection_closed,
            on_close_callback=self._connection_closed,
        )
        self._connection = connection
        if self._closing.is_set():
            connection.close()
        try:
            connection.ioloop.start()
        finally:
            pika_internals.close_socket(connection)
            connection.ioloop.close()

    def _stop_loop(self) -> None:
        if self._connection is not None:
            self._connection.ioloop.stop()

    def _connection_opened(self, connection: pika.SelectConnection) -> None:
        try:
            supported_version(connection.server_properties)
        except BrokerTooOld as error:
            self.disconnect(error)
        else:
            self._open_channel()

    def _connection_closed(self, _connection: pika.SelectConnection, reason: BaseException) -> None:
        self._disconnect_reason = self._disconnect_reason or reason
        self._stop_loop()

    def _open_channel(self) -> None:
        if self._connection is not None and self._connection.is_open:
            self._connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Channel) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._channel_closed)
        self._on_channel_open(channel)

    def _channel_closed(self, channel: Channel, reason: BaseException) -> None:
        if channel is self._channel:
            self._channel = None
            self.disconnect(reason)

    def _close_gracefully(self) -> None:
        if self._channel is not None and self._channel.is_open:
            self._before_close(self._channel, self._close_connection)
        else:
            self._close_connection()

    def _close_connection(self) -> None:
        try:
            if self._connection is not None:
                self._connection.close()
        except AMQPError:
            self._stop_loop()
