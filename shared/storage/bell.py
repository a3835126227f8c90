"""What wakes a relay at once, whoever committed: its own process, or one without a relay.

In the process it is a socket; from another it is NOTIFY on PostgreSQL, and on SQLite the file's
data version, which every commit of another connection changes, with something in the outbox.
"""

import contextlib
import select
import socket
import sqlite3
import time

import psycopg

from shared.storage.database import Database
from shared.storage.outbox import CHANNEL

GLANCE_EVERY = 0.05
"""Seconds between two looks at a SQLite file's data version; a look costs some microseconds."""

_SOMETHING_WAITS = "SELECT 1 FROM outbox WHERE sent_at IS NULL AND refused IS NULL LIMIT 1"


class Bell:
    """Rung in this process by `ring`, and heard from others too, after `listen`."""

    def __init__(self) -> None:
        self._hears, self._rings = socket.socketpair()
        self._hears.settimeout(0)
        self._rings.settimeout(0)
        self._listening: psycopg.Connection[tuple[object, ...]] | None = None
        self._file: sqlite3.Connection | None = None
        self._version: object = None

    def ring(self) -> None:
        """Wake whoever waits, or whoever waits next."""
        with contextlib.suppress(BlockingIOError):  # it is full of rings already
            self._rings.send(b"!")

    def listen(self, database: Database) -> None:
        """Hear commits of other processes too.

        Raises:
            psycopg.Error: the server cannot be reached.
            sqlite3.Error: the file cannot be opened.
        """
        if database.is_sqlite:
            self._file = self._file or sqlite3.connect(database.path, check_same_thread=False)
        elif self._listening is None:
            address = database.address.set(drivername="postgresql")
            calling = psycopg.connect(
                address.render_as_string(hide_password=False), autocommit=True, connect_timeout=5
            )
            try:
                calling.execute(f"LISTEN {CHANNEL}".encode())
            except psycopg.Error:
                calling.close()
                raise
            self._listening = calling

    def wait(self, seconds: float) -> None:
        """Wait until it rings, at most so long."""
        until = time.monotonic() + seconds
        while not self._rang(max(0.0, until - time.monotonic())):
            if time.monotonic() >= until:
                return

    def _rang(self, seconds: float) -> bool:
        sources: list[socket.socket | psycopg.Connection[tuple[object, ...]]] = [self._hears]
        if self._listening is not None:
            sources.append(self._listening)
        patience = min(seconds, GLANCE_EVERY) if self._file else seconds
        ready, _, _ = select.select(sources, [], [], patience)
        if self._hears in ready:
            self._hears.recv(65_536)
        if self._listening in ready:
            self._hear_notifications()
        return bool(ready) or self._is_told_by_the_file()

    def _hear_notifications(self) -> None:
        try:
            if self._listening is not None:
                list(self._listening.notifies(timeout=0))
        except psycopg.Error:
            self._hang_up()  # `listen` will call again

    def _is_told_by_the_file(self) -> bool:
        if self._file is None:
            return False
        (version,) = self._file.execute("PRAGMA data_version").fetchone()
        changed, self._version = version != self._version, version
        # Most commits are reactions that publish nothing, and the relay's own.
        return changed and self._file.execute(_SOMETHING_WAITS).fetchone() is not None

    def _hang_up(self) -> None:
        if self._listening is not None:
            self._listening.close()
        self._listening = None

    def close(self) -> None:
        """Let go of it; nobody may ring it any more."""
        self._hang_up()
        if self._file is not None:
            self._file.close()
        self._hears.close()
        self._rings.close()
