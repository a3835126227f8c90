"""A mail server that keeps what it takes, and that can be away, slow or refusing."""

import asyncio
import threading
from email import message_from_bytes
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope

from tests.chaos.servers import free_port


class Mailbox:
    """The server.

    Attributes:
        taken: the Message-ID of each mail that was taken, copies and all.
        slow: seconds that it takes over a mail.
        refusing: answers 451 instead of taking it.
        busy: mails whose content has come and that are not answered for yet.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.taken: list[str] = []
        self.slow = 0.0
        self.refusing = False
        self.busy = 0
        self.refused = 0
        self._lock = threading.Lock()
        self._controller: Controller | None = None

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        del server, session
        self.busy += 1
        try:
            await asyncio.sleep(self.slow)
        finally:
            self.busy -= 1
        if self.refusing:
            self.refused += 1
            return "451 not now"
        content = envelope.content
        assert isinstance(content, bytes)
        with self._lock:
            self.taken.append(str(message_from_bytes(content)["Message-ID"]))
        return "250 OK"

    def open(self) -> None:
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    def close(self) -> None:
        """Away, hanging up on who is there."""
        if self._controller is not None:
            self._controller.stop()
        self._controller = None

    @property
    def mails(self) -> list[str]:
        with self._lock:
            return list(self.taken)
