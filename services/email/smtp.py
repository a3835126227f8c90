"""A mail server, by SMTP, over connections that are kept open, one for each thread at work.

What a server says may repeat the address that it refuses, and smtplib's errors hold both. So ours
is raised outside of the `except` that caught it: it has no cause and no context to be logged.
"""

import contextlib
import re
import select
import smtplib
import ssl
import time
from collections import deque
from dataclasses import dataclass, field
from email.message import Message
from email.policy import SMTP
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from services.email.refusals import MailRefused, MailRefusedForNow
from shared.errors import DependencyUnavailable, InvalidInput, ShopError

TIMEOUT = 10.0
"""Seconds for each step of the conversation: a handler with several of them has a minute."""

TRUSTED_SECONDS = 1.0
"""A connection used so recently is not asked for a sign of life."""

_PLAIN_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")
"""Of which nothing is to be parsed."""

SESSION_CODES = frozenset({421, 530, 534, 535, 538})
"""Replies about the session rather than the mail: the server closes, or wants other credentials.

Source: https://www.rfc-editor.org/rfc/rfc5321#section-3.8 and rfc4954#section-6
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a mail server is, and how to enter.

    Attributes:
        user: None where no password is asked for.
        is_tls: speaks TLS from the first byte.
    """

    host: str
    port: int
    user: str | None
    password: str = field(repr=False)
    is_tls: bool

    @classmethod
    def of(cls, url: str) -> "Server":
        """What a URL says.

        Raises:
            InvalidInput: it says something else; the sentence repeats none of it.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
            (parts.hostname or "").encode("idna")
        except ValueError:
            raise _wrong_url() from None
        is_tls = parts.scheme == "smtps"
        has_more = parts.path not in ("", "/") or parts.query or parts.fragment
        half_a_login = bool(parts.username) != bool(parts.password)
        known = parts.scheme in ("smtp", "smtps")
        if not known or not parts.hostname or port == 0 or has_more or half_a_login:
            raise _wrong_url()
        return cls(
            host=parts.hostname,
            port=port or (465 if is_tls else 25),
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password or ""),
            is_tls=is_tls,
        )

    @property
    def place(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"


class _Idle(NamedTuple):
    connection: smtplib.SMTP
    since: float

    @property
    def is_doubtful(self) -> bool:
        """Whether it was left alone for long, or the server has said or ended something."""
        if time.monotonic() - self.since > TRUSTED_SECONDS or self.connection.sock is None:
            return True
        readable, _, _ = select.select([self.connection.sock], [], [], 0)
        return bool(readable)


class MailServer:
    """One mail server. For any number of threads, each with a connection to itself.

    Args:
        url: `smtp://host:port` without TLS, as for a relay next door; with `user:password@`
            TLS is taken up by STARTTLS; `smtps://` speaks it from the start. Certificates are
            verified. Ports left out are 25 and 465.

    Raises:
        InvalidInput: it is no such URL.
    """

    def __init__(self, url: str, *, timeout: float = TIMEOUT) -> None:
        self._server = Server.of(url)
        self._timeout = timeout
        self._idle: deque[_Idle] = deque()

    def send(self, message: Message) -> None:
        """Hand over a mail.

        Raises:
            MailRefused: the server will never take it; dead.
            MailRefusedForNow: it may later; tried again.
            DependencyUnavailable: the server cannot be reached, or does not let us in.
        """
        connection = self._ready()
        try:
            connection.send_message(message, _one(message, "From"), [_one(message, "To")])
        except smtplib.SMTPRecipientsRefused as error:
            trouble = self._refusal(next(iter(error.recipients.values()))[0])
        except smtplib.SMTPResponseException as error:
            trouble = self._refusal(error.smtp_code)
        except OSError as error:
            connection.close()
            trouble = self._away(f"broke off while it took a mail ({_reason(error)})")
        else:
            return
        finally:
            self._keep(connection)
        raise trouble

    def probe(self) -> None:
        """Have a word with the server.

        Raises:
            DependencyUnavailable: it cannot be reached, or does not let us in.
        """
        self._keep(self._ready())

    def close(self) -> None:
        """Take leave of the server."""
        while (idle := self._taken()) is not None:
            with contextlib.suppress(OSError):  # it has gone already: there is nothing to leave
                idle.connection.quit()

    def _ready(self) -> smtplib.SMTP:
        """A connection, a new one where there is none, or the server has closed it.

        A server closes what is idle. To ask first (NOOP) costs a round trip, and tells for sure
        that no mail was on its way when the connection broke, so that none is sent twice for it.
        """
        idle = self._taken()
        if idle is not None and (not idle.is_doubtful or _answers(idle.connection)):
            return idle.connection
        while idle is not None:  # the others are no better
            idle.connection.close()
            idle = self._taken()
        return self._entered()

    def _taken(self) -> _Idle | None:
        with contextlib.suppress(IndexError):  # another thread may have taken the last
            return self._idle.pop()
        return None

    def _keep(self, connection: smtplib.SMTP) -> None:
        if connection.sock is not None:
            self._idle.append(_Idle(connection, time.monotonic()))

    def _entered(self) -> smtplib.SMTP:
        connection = None
        try:
            connection = self._greeted()
            self._log_in(connection)
        except smtplib.SMTPAuthenticationError as error:
            trouble = self._away(f"refuses the user or the password ({error.smtp_code})")
        except smtplib.SMTPResponseException as error:
            trouble = self._away(f"does not let us in ({error.smtp_code})")
        except OSError as error:
            trouble = self._away(f"cannot be reached ({_reason(error)})")
        else:
            return connection
        if connection is not None:
            connection.close()
        raise trouble

    def _greeted(self) -> smtplib.SMTP:
        where = self._server
        if where.is_tls:
            return smtplib.SMTP_SSL(
                where.host, where.port, timeout=self._timeout, context=ssl.create_default_context()
            )
        return smtplib.SMTP(where.host, where.port, timeout=self._timeout)

    def _log_in(self, connection: smtplib.SMTP) -> None:
        connection.ehlo_or_helo_if_needed()
        where = self._server
        if where.user is None:
            return
        if not where.is_tls and connection.has_extn("starttls"):
            connection.starttls(context=ssl.create_default_context())
        elif not where.is_tls and not _is_on_this_machine(connection):
            # Who sits in between could have taken the offer out, and would be told the password.
            raise OSError(0, "it offers no STARTTLS, and a password is not sent in the clear")
        connection.login(where.user, where.password)

    def _refusal(self, code: int) -> ShopError:
        said = f"the mail server answered {code}"
        if code in SESSION_CODES or not 400 <= code < 600:
            return self._away(f"answered {code}")
        return MailRefused(said) if code >= 500 else MailRefusedForNow(said)

    def _away(self, trouble: str) -> DependencyUnavailable:
        return DependencyUnavailable(f"the mail server {self._server.place} {trouble}")


def _answers(connection: smtplib.SMTP) -> bool:
    try:
        return connection.noop()[0] == 250
    except OSError:
        return False


def _is_on_this_machine(connection: smtplib.SMTP) -> bool:
    return connection.sock is not None and ip_address(connection.sock.getpeername()[0]).is_loopback


def _one(message: Message, header: str) -> str:
    """The address in a header, as it stands there: smtplib would parse it by other rules."""
    value = str(message[header])
    return value if _PLAIN_ADDRESS.fullmatch(value) else _parsed(header, value)


@lru_cache(maxsize=16)
def _parsed(header: str, value: str) -> str:
    # The sender's is the same in each mail, and takes as long as making one.
    found: str = SMTP.header_factory(header, value).addresses[0].addr_spec
    return found


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _wrong_url() -> InvalidInput:
    return InvalidInput(
        "SHOP_SMTP_URL should be smtp://HOST:PORT, smtp://USER:PASSWORD@HOST:PORT or "
        "smtps://USER:PASSWORD@HOST:PORT"
    )
