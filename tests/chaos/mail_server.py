"""A mail server that records what it accepts, and that can be down, slow or refusing."""

import asyncio
import threading
from email import message_from_bytes
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope

from tests.chaos.servers import free_port


class RecordingMailServer:
    """Accepts mails over SMTP and records their Message-IDs.

    Attributes:
        taken: the Message-ID of each accepted mail, duplicates included.
        slow: seconds until it responds to a mail.
        refusing: whether it responds with 451 instead of accepting.
        busy: mails that were received and not responded to yet.
        refused: how many mails got a 451.
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
        """Stop listening, and close every connection."""
        if self._controller is not None:
            self._controller.stop()
        self._controller = None

    @property
    def mails(self) -> list[str]:
        with self._lock:
            return list(self.taken)
