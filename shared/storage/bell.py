"""What wakes a relay at once: a pipe within the process, and PostgreSQL's NOTIFY from another."""

import os
import select

import psycopg

from shared.storage.database import Database
from shared.storage.outbox import CHANNEL


class Bell:
    """Wakes the relay: rung in this process, or by NOTIFY from one without a relay."""

    def __init__(self) -> None:
        self._hears, self._rings = os.pipe()
        os.set_blocking(self._rings, False)
        os.set_blocking(self._hears, False)
        self._listening: psycopg.Connection[tuple[object, ...]] | None = None

    def ring(self) -> None:
        """Wake whoever waits, or whoever waits next."""
        try:
            os.write(self._rings, b"!")
        except BlockingIOError:
            return  # the pipe is full of rings already

    def listen(self, database: Database) -> None:
        """Hear NOTIFY too, where there is such a thing."""
        if database.is_sqlite or self._listening is not None:
            return
        address = database.address.set(drivername="postgresql").render_as_string(
            hide_password=False
        )
        self._listening = psycopg.connect(address, autocommit=True, connect_timeout=5)
        self._listening.execute(f"LISTEN {CHANNEL}".encode())

    def wait(self, seconds: float) -> None:
        """Wait until it rings, at most so long."""
        listening = self._listening
        sources = [self._hears] + ([listening.fileno()] if listening else [])
        ready, _, _ = select.select(sources, [], [], seconds)
        if self._hears in ready:
            os.read(self._hears, 65_536)
        if listening and listening.fileno() in ready:
            try:
                list(listening.notifies(timeout=0))
            except psycopg.Error:
                self._hang_up()

    def _hang_up(self) -> None:
        if self._listening:
            self._listening.close()
        self._listening = None

    def close(self) -> None:
        """Let go of it."""
        self._hang_up()
        os.close(self._hears)
        os.close(self._rings)
