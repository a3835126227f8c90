"""Wakes a relay when an event has been committed, by its own process or by another one.

A socket carries the notifications of its own process. Commits of other processes are noticed by
NOTIFY on PostgreSQL, and by a change of the file's data version on SQLite.
"""

import contextlib
import select
import socket
import time
from typing import Protocol

from shared.errors import DependencyUnavailable
from shared.storage.database import Database
from shared.storage.outbox import CHANNEL, PENDING


class CommitListener(Protocol):
    """Notices commits of other processes.

    Attributes:
        file_descriptor: readable when `poll` should be called; None if there is none.
        poll_interval: seconds between two calls of `poll`, whatever the file descriptor says.
    """

    file_descriptor: int | None
    poll_interval: float

    def poll(self) -> bool:
        """Whether another process has committed since the last call.

        Raises:
            DependencyUnavailable: the database is away, and the listener has to be replaced.
        """

    def close(self) -> None:
        """Close the connection to the database."""


class Wakeup:
    """Lets a thread wait until `notify` is called or, after `listen`, another process commits."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.settimeout(0)
        self._sender.settimeout(0)
        self._listener: CommitListener | None = None

    def notify(self) -> None:
        """Wake the waiting thread; if none is waiting, the next `wait` returns at once."""
        with contextlib.suppress(BlockingIOError):  # the buffer is full of notifications
            self._sender.send(b"!")

    def listen(self, database: Database) -> None:
        """Notice commits of other processes too; does nothing if it does already.

        Raises:
            DependencyUnavailable: the server cannot be reached, or the file cannot be opened.
        """
        self._listener = self._listener or _listener_for(database)

    def wait(self, seconds: float) -> None:
        """Wait until there is a notification, at most this long."""
        deadline = time.monotonic() + seconds
        while not self._is_notified(max(0.0, deadline - time.monotonic())):
            if time.monotonic() >= deadline:
                return

    def _is_notified(self, timeout: float) -> bool:
        descriptors = [self._receiver.fileno()]
        if self._listener is not None:
            timeout = min(timeout, self._listener.poll_interval)
            if self._listener.file_descriptor is not None:
                descriptors.append(self._listener.file_descriptor)
        ready, _, _ = select.select(descriptors, [], [], timeout)
        if self._receiver.fileno() in ready:
            self._receiver.recv(65_536)
        return self._poll() or bool(ready)

    def _poll(self) -> bool:
        try:
            return self._listener is not None and self._listener.poll()
        except DependencyUnavailable:
            self._close_listener()  # the next `listen` opens another
            return True

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._listener = None

    def close(self) -> None:
        """Close the sockets and the listener; `notify` must not be called any more."""
        self._close_listener()
        self._receiver.close()
        self._sender.close()


def _listener_for(database: Database) -> CommitListener:
    # Each is imported when it is needed, as in `Database`.
    if database.is_sqlite:
        from shared.storage import sqlite  # noqa: PLC0415 - see above

        return sqlite.DataVersionPoller(database.path, PENDING)
    from shared.storage import postgresql  # noqa: PLC0415 - see above

    return postgresql.NotifyListener(database.address, CHANNEL)
