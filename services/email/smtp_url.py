"""Parses SHOP_SMTP_URL."""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from shared.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpUrl:
    """The address of a mail server and the login for it.

    Attributes:
        user: None if the server needs no login.
        is_tls: whether the connection uses TLS from the first byte.
    """

    host: str
    port: int
    user: str | None
    password: str = field(repr=False)
    is_tls: bool

    @classmethod
    def parse(cls, url: str) -> "SmtpUrl":
        """Parse a URL; raises InvalidInput, whose message repeats no part of it."""
        try:
            parts = urlsplit(url)
            port = parts.port
            (parts.hostname or "").encode("idna")
        except ValueError:
            raise _invalid_url() from None
        is_tls = parts.scheme == "smtps"
        is_known = is_tls or parts.scheme == "smtp"
        has_more = parts.path not in ("", "/") or parts.query or parts.fragment
        has_half_a_login = bool(parts.username) != bool(parts.password)
        if not is_known or not parts.hostname or port == 0 or has_more or has_half_a_login:
            raise _invalid_url()
        return cls(
            host=parts.hostname,
            port=port or (465 if is_tls else 25),
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password or ""),
            is_tls=is_tls,
        )

    @property
    def place(self) -> str:
        """Host and port, without the login."""
        return f"{self.host}:{self.port}"


def _invalid_url() -> InvalidInput:
    return InvalidInput(
        "SHOP_SMTP_URL should be smtp://HOST:PORT, smtp://USER:PASSWORD@HOST:PORT or "
        "smtps://USER:PASSWORD@HOST:PORT"
    )
