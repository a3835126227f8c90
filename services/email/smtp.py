"""Sends emails to a mail server by SMTP, over connections that are kept open and reused.

A mail server's reply may repeat the address that it refuses, and an smtplib error holds both. So
every error of this module is raised outside the `except` block that caught smtplib's: it has no
cause and no context that could be logged.
"""

import contextlib
import select
import smtplib
import ssl
import time
from collections import deque
from ipaddress import ip_address
from typing import NamedTuple

from services.email.errors import MailRefused, MailRefusedForNow
from services.email.mails import Mail
from services.email.smtp_url import SmtpUrl
from shared import tls
from shared.errors import DependencyUnavailable, ShopError
from shared.exhaustion import reason_of
from shared.server_urls import PERMISSION

TIMEOUT = 10.0
"""Seconds for each reply; an email takes several replies, and a handler has a minute."""

TRUSTED_SECONDS = 1.0
"""A connection that has been idle no longer than this is used without a NOOP."""

SESSION_CODES = frozenset({421, 530, 534, 535, 538})
"""Reply codes about the session, not the email: the server closes it, or refuses the login.

Source: https://www.rfc-editor.org/rfc/rfc5321#section-3.8 and rfc4954#section-6
"""


class _IdleConnection(NamedTuple):
    connection: smtplib.SMTP
    since: float

    @property
    def is_trusted(self) -> bool:
        """Whether it was used a moment ago, and the server has neither closed it nor written."""
        if time.monotonic() - self.since > TRUSTED_SECONDS or self.connection.sock is None:
            return False
        readable, _, _ = select.select([self.connection.sock], [], [], 0)
        return not readable


class MailServer:
    """One mail server. Thread-safe: each call has a connection to itself.

    Args:
        url: `smtps://host:port` uses TLS from the first byte; `smtp://` uses STARTTLS, which it
            can omit without a login on this machine and if plaintext is permitted. Certificates
            are verified. The default ports are 465 and 25.
        context: the TLS settings.
        allow_plaintext: whether a server on another machine may get mails, not passwords, without
            TLS; False by default.
        timeout: seconds to wait for each reply.

    Raises:
        InvalidInput: the URL is invalid.
    """

    def __init__(
        self,
        url: str,
        *,
        context: ssl.SSLContext,
        allow_plaintext: bool = False,
        timeout: float = TIMEOUT,
    ) -> None:
        self._url = SmtpUrl.parse(url)
        self._context = context
        self._allow_plaintext = allow_plaintext
        self._timeout = timeout
        self._idle: deque[_IdleConnection] = deque()

    @property
    def place(self) -> str:
        """Host and port."""
        return f"the mail server {self._url.place}"

    def send(self, mail: Mail) -> None:
        """Send an email; see `MailTransport.send`."""
        connection = self._acquire()
        try:
            # Without these addresses, smtplib takes them from the headers and changes unusual ones.
            connection.send_message(mail.message, mail.sender, [mail.to])
        except smtplib.SMTPRecipientsRefused as smtp_error:
            error = self._refusal(smtp_error.recipients[mail.to][0])
        except smtplib.SMTPResponseException as smtp_error:
            error = self._refusal(smtp_error.smtp_code)
        except OSError as os_error:
            connection.close()
            error = self._unavailable(f"failed during an email ({reason_of(os_error)})")
        else:
            return
        finally:
            self._release(connection)
        raise error

    def probe(self) -> None:
        """Raise DependencyUnavailable if the server cannot be reached or refuses the session."""
        self._release(self._acquire())

    def close(self) -> None:
        """Close all idle connections."""
        while (idle := self._pop_idle()) is not None:
            with contextlib.suppress(OSError):  # the server has closed it already
                idle.connection.quit()

    def _acquire(self) -> smtplib.SMTP:
        """An idle connection that works, or else a new one.

        A server closes idle connections. A NOOP costs a round trip, but it detects that before an
        email is sent, so that no email is sent twice.
        """
        idle = self._pop_idle()
        if idle is not None and (idle.is_trusted or _answers(idle.connection)):
            return idle.connection
        while idle is not None:  # the others have been idle for longer
            idle.connection.close()
            idle = self._pop_idle()
        return self._connect()

    def _release(self, connection: smtplib.SMTP) -> None:
        if connection.sock is not None:
            self._idle.append(_IdleConnection(connection, time.monotonic()))

    def _pop_idle(self) -> _IdleConnection | None:
        with contextlib.suppress(IndexError):  # another thread may have taken the last one
            return self._idle.pop()
        return None

    def _connect(self) -> smtplib.SMTP:
        connection = None
        try:
            connection = self._open()
            self._log_in(connection)
        except smtplib.SMTPAuthenticationError as smtp_error:
            error = self._unavailable(f"refuses the user or the password ({smtp_error.smtp_code})")
        except smtplib.SMTPResponseException as smtp_error:
            error = self._unavailable(f"refuses the session ({smtp_error.smtp_code})")
        except OSError as os_error:
            error = self._unavailable(
                tls.failure_of(os_error) or f"cannot be reached ({reason_of(os_error)})"
            )
        else:
            return connection
        if connection is not None:
            connection.close()
        raise error

    def _open(self) -> smtplib.SMTP:
        host, port = self._url.host, self._url.port
        if self._url.is_tls:
            return smtplib.SMTP_SSL(host, port, timeout=self._timeout, context=self._context)
        return smtplib.SMTP(host, port, timeout=self._timeout)

    def _log_in(self, connection: smtplib.SMTP) -> None:
        connection.ehlo_or_helo_if_needed()
        has_login = self._url.user is not None
        is_here = _is_on_this_machine(connection)
        if not self._url.is_tls and (has_login or not (is_here or self._allow_plaintext)):
            self._start_tls(connection, may_omit=is_here)
        if self._url.user is not None:
            connection.login(self._url.user, self._url.password)

    def _start_tls(self, connection: smtplib.SMTP, *, may_omit: bool) -> None:
        if connection.has_extn("starttls"):
            connection.starttls(context=self._context)
        elif not may_omit:
            # Also with permission for plaintext no password is sent: an attacker on the network
            # can remove the offer of STARTTLS and read it.
            what = "a password is not sent unencrypted"
            if self._url.user is None:
                what = f"an email to another machine needs it; {PERMISSION}"
            raise OSError(0, f"it offers no STARTTLS, and {what}")

    def _refusal(self, code: int) -> ShopError:
        if code in SESSION_CODES or not 400 <= code < 600:
            return self._unavailable(f"answered {code}")
        error = MailRefused if code >= 500 else MailRefusedForNow
        return error(f"the mail server answered {code}")

    def _unavailable(self, reason: str) -> DependencyUnavailable:
        return DependencyUnavailable(f"{self.place} {reason}")


def _answers(connection: smtplib.SMTP) -> bool:
    try:
        return connection.noop()[0] == 250
    except OSError:
        return False


def _is_on_this_machine(connection: smtplib.SMTP) -> bool:
    return connection.sock is not None and ip_address(connection.sock.getpeername()[0]).is_loopback
