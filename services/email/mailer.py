"""Hands mails over: to a mail server where SHOP_SMTP_URL names one, else into a folder."""

from email.headerregistry import Address
from email.message import Message
from typing import Protocol, Self

from pydantic import TypeAdapter, ValidationError

from services.email.maildir import Maildir
from services.email.smtp import MailServer
from shared.errors import InvalidInput
from shared.events.fields import EmailAddress
from shared.runtime.settings import Settings


class Way(Protocol):
    """A way that mails go. For any number of threads."""

    def send(self, message: Message) -> None:
        """Hand over a mail; once it returns, the mail is safe."""

    def probe(self) -> None:
        """Raise DependencyUnavailable unless a mail could be handed over now."""

    def close(self) -> None:
        """Let go of it."""


class Mailer:
    """Sends mails, each at least once. For any number of threads.

    Attributes:
        sender: whom the mails come from.
    """

    def __init__(self, way: Way, *, sender: Address) -> None:
        self.sender = sender
        self._way = way

    @classmethod
    def opened(cls, settings: Settings) -> Self:
        """As the settings say; it connects when it is used.

        Raises:
            InvalidInput: SHOP_SMTP_URL or SHOP_MAIL_FROM cannot be used.
        """
        sender = _sender(settings.mail_from)
        if settings.smtp_url:
            return cls(MailServer(settings.smtp_url), sender=sender)
        return cls(Maildir(settings.home / "mail"), sender=sender)

    def send(self, message: Message) -> None:
        """Hand over a mail; once it returns, the mail is safe with whoever took it.

        Raises:
            MailRefused: it will never be taken; dead.
            MailRefusedForNow: tried again later.
            DependencyUnavailable: the mail server, or the folder, is away.
        """
        self._way.send(message)

    def probe(self) -> None:
        """Ask whether a mail could be sent now.

        Raises:
            DependencyUnavailable: it could not.
        """
        self._way.probe()

    def close(self) -> None:
        """Let go of the connection."""
        self._way.close()


def _sender(mail_from: str) -> Address:
    name, bracket, address = mail_from.rpartition("<")
    address = address.removesuffix(">").strip() if bracket else mail_from.strip()
    try:
        TypeAdapter(EmailAddress).validate_python(address)
        user, _, domain = address.rpartition("@")
        return Address(name.strip().strip('"'), user, domain)
    except (ValidationError, ValueError):
        raise InvalidInput(
            "SHOP_MAIL_FROM should be a mail address, with or without a name before it: "
            "Past Tense <orders@shop.example>"
        ) from None
