"""The demo's mail server, which now and then refuses a mail."""

from email.message import Message

from services.email.mailer import Mailer
from shared.errors import ShopError


class ReluctantMailer:
    """A real mailer, in front of which a server refuses what it has been told to."""

    def __init__(self, mailer: Mailer) -> None:
        self.sender = mailer.sender
        self._mailer = mailer
        self._refusals: dict[str, list[ShopError]] = {}

    def refuse(self, subject_part: str, *refusals: ShopError) -> None:
        """Refuse mails with this in their subject, once for each refusal."""
        self._refusals[subject_part] = list(refusals)

    def send(self, message: Message) -> None:
        """Refuse, or hand over."""
        for subject_part, refusals in self._refusals.items():
            if refusals and subject_part in str(message["Subject"]):
                raise refusals.pop(0)
        self._mailer.send(message)

    def probe(self) -> None:
        """It answers."""
        self._mailer.probe()

    def close(self) -> None:
        """Let go of it."""
        self._mailer.close()
