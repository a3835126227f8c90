"""Sends emails: to the mail server that SHOP_SMTP_URL names, or else into a Maildir."""

from email.headerregistry import Address
from typing import Protocol, Self

from pydantic import TypeAdapter, ValidationError

from services.email.maildir import Maildir
from services.email.mails import Mail
from services.email.smtp import MailServer
from shared.errors import InvalidInput
from shared.events.text import one_line
from shared.mail_addresses import TypedEmailAddress
from shared.runtime.settings import Settings
from shared.tls import client_context


class MailTransport(Protocol):
    """A mail server or a folder that takes emails. Thread-safe."""

    @property
    def place(self) -> str:
        """Names it, without a password."""

    def send(self, mail: Mail) -> None:
        """Send an email; when this returns, the mail server or the disk has it.

        Raises:
            MailRefused: refused permanently; the delivery is dead.
            MailRefusedForNow: refused temporarily; the delivery is retried.
            DependencyUnavailable: the mail server or the folder cannot be used.
        """

    def probe(self) -> None:
        """Raise DependencyUnavailable if no email can be sent now."""

    def close(self) -> None:
        """Close all connections."""


class Mailer:
    """Sends emails. Thread-safe.

    Attributes:
        sender: the address in `From`.
    """

    def __init__(self, transport: MailTransport, *, sender: Address) -> None:
        self.sender = sender
        self._transport = transport

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """A mailer for these settings; raises InvalidInput if one, or a TLS file, is invalid."""
        sender = _parse_sender(settings.mail_from)
        if settings.smtp_url:
            context = client_context(
                settings.tls_ca_file, settings.tls_cert_file, settings.tls_key_file
            )
            server = MailServer(
                settings.smtp_url, context=context, allow_plaintext=settings.allow_plaintext
            )
            return cls(server, sender=sender)
        return cls(Maildir(settings.home / "mail"), sender=sender)

    @property
    def place(self) -> str:
        """The mail server or the folder, which `shop doctor` compares with its own."""
        return self._transport.place

    def send(self, mail: Mail) -> None:
        """Send an email; see `MailTransport.send`."""
        self._transport.send(mail)

    def probe(self) -> None:
        """Raise DependencyUnavailable if no email can be sent now."""
        self._transport.probe()

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()


def _parse_sender(mail_from: str) -> Address:
    name, bracket, address = mail_from.rpartition("<")
    address = address.removesuffix(">").strip() if bracket else mail_from.strip()
    try:
        adapter: TypeAdapter[str] = TypeAdapter(TypedEmailAddress)
        user, _, domain = adapter.validate_python(address).rpartition("@")
        name = name.strip().strip('"')
        return Address(one_line(name) if name else "", user, domain)
    except (ValidationError, ValueError):
        raise InvalidInput(
            "SHOP_MAIL_FROM should be an email address, with or without a name before it: "
            "Past Tense <orders@shop.example>"
        ) from None
