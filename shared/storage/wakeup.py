"""What wakes a relay at once, whoever committed: its own process, or one without a relay.

In the process it is a socket; from another it is NOTIFY on PostgreSQL, and on SQLite the file's
data version, which every commit of another connection changes, with something in the outbox.
"""

import contextlib
import select
import socket
import time
from typing import Protocol

from shared.errors import DependencyUnavailable
from shared.storage.database import Database
from shared.storage.outbox import CHANNEL, SOMETHING_WAITS


class CommitListener(Protocol):
    """What hears the commits of other processes.

    Attributes:
        source: a file descriptor that is ready when there is something to hear; None if none is.
        every: seconds between two times that it wants to be asked.
    """

    source: int | None
    every: float

    def poll(self) -> bool:
        """Whether there was something since it was asked last.

        Raises:
            DependencyUnavailable: it hears nothing any more.
        """

    def close(self) -> None:
        """Hear no more."""


class Wakeup:
    """Rung in this process by `ring`, and heard from others too, after `listen`."""

    def __init__(self) -> None:
        self._hears, self._rings = socket.socketpair()
        self._hears.settimeout(0)
        self._rings.settimeout(0)
        self._listener: CommitListener | None = None

    def notify(self) -> None:
        """Wake whoever waits, or whoever waits next."""
        with contextlib.suppress(BlockingIOError):  # it is full of rings already
            self._rings.send(b"!")

    def listen(self, database: Database) -> None:
        """Hear commits of other processes too.

        Raises:
            DependencyUnavailable: the server cannot be reached, or the file cannot be opened.
        """
        self._listener = self._listener or _listener_at(database)

    def wait(self, seconds: float) -> None:
        """Wait until it rings, at most so long."""
        until = time.monotonic() + seconds
        while not self._rang(max(0.0, until - time.monotonic())):
            if time.monotonic() >= until:
                return

    def _rang(self, seconds: float) -> bool:
        sources = [self._hears.fileno()]
        if self._listener is not None:
            seconds = min(seconds, self._listener.every)
            if self._listener.source is not None:
                sources.append(self._listener.source)
        ready, _, _ = select.select(sources, [], [], seconds)
        if self._hears.fileno() in ready:
            self._hears.recv(65_536)
        return self._has_heard() or bool(ready)

    def _has_heard(self) -> bool:
        try:
            return self._listener is not None and self._listener.poll()
        except DependencyUnavailable:
            self._hang_up()  # `listen` will call again
            return True

    def _hang_up(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._listener = None

    def close(self) -> None:
        """Let go of it; nobody may ring it any more."""
        self._hang_up()
        self._hears.close()
        self._rings.close()


def _listener_at(database: Database) -> CommitListener:
    if database.is_sqlite:
        from shared.storage import sqlite  # noqa: PLC0415 - only the one in use

        return sqlite.DataVersionPoller(database.path, SOMETHING_WAITS)
    from shared.storage import postgresql  # noqa: PLC0415 - only the one in use

    return postgresql.NotifyListener(database.address, CHANNEL)
