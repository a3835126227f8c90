"""TLS to PostgreSQL: the parameters for libpq, and why a connection failed.

Source: https://www.postgresql.org/docs/18/libpq-ssl.html
"""

import socket
import ssl
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from shared import tls
from shared.errors import InvalidInput
from shared.server_urls import PERMISSION, TlsFiles, is_this_machine, with_parameters

_VERIFIED = "verify-full"
"""The one `sslmode` that verifies the certificate and that it is the host's."""

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""https://www.postgresql.org/docs/18/protocol-message-formats.html"""

_TIMEOUT = 5.0
"""Seconds."""


def secured(url: str, files: TlsFiles, *, allow_plaintext: bool) -> str:
    """A URL with the TLS files as parameters, off this machine also with `sslmode=verify-full`.

    A URL that cannot be parsed is returned unchanged: the code that uses it reports that.

    Raises:
        ValueError: the server is on another machine, and the URL has a weaker `sslmode`. The
            message repeats nothing of it.
    """
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        return url
    given = address.normalized_query
    wanted: dict[str, Path | str | None] = {
        "sslrootcert": files.ca,
        "sslcert": files.cert,
        "sslkey": files.key or files.cert,
    }
    if not (allow_plaintext or _is_this_machine(address)):
        if given.get("sslmode", (_VERIFIED,)) != (_VERIFIED,):
            raise ValueError(
                f"a server on another machine needs TLS, sslmode={_VERIFIED}; {PERMISSION}"
            )
        wanted["sslmode"] = _VERIFIED
        # libpq is built with its own idea of where the system's certificates are.
        wanted["sslrootcert"] = files.ca or ssl.get_default_verify_paths().cafile or "system"
    return with_parameters(url, wanted, given=given)


def _is_this_machine(address: URL) -> bool:
    """Whether every address that libpq may use is a socket or a loopback one.

    Without a host libpq uses PGHOST, or a socket, for which it ignores `sslmode`.
    """
    query = address.normalized_query
    hosts = [host for name in ("host", "hostaddr") for host in query.get(name, ())]
    if address.host and "host" not in query:
        hosts.append(address.host)
    names = [name for host in hosts for name in host.split(",")]
    return (
        bool(names)
        and "service" not in query
        and all(name.startswith("/") or is_this_machine(name) for name in names)
    )


def failure_of(address: URL, error: BaseException) -> str | None:
    """Why TLS failed, in words that follow the name of the server; None for other reasons."""
    text = str(error)
    if "certificate verify failed" in text or "does not match host name" in text:
        return _refused_certificate(address) or "has a certificate that is not accepted"
    is_alert = "SSL error" in text and "alert" in text
    if is_alert or "requires a valid client certificate" in text:
        return tls.REFUSES_CLIENT
    if "server does not support SSL" in text:
        return "does not answer with TLS"
    if "certificate file" in text or "private key file" in text:
        return f"is not asked: {text.rpartition('failed: ')[2].partition(chr(10))[0]}"
    return None


def _refused_certificate(address: URL) -> str | None:
    """What is wrong with the server's certificate, which libpq does not say."""
    query = address.normalized_query
    host = (query.get("host") or (address.host or "",))[0]
    where = (query.get("hostaddr") or (host,))[0], address.port or 5432
    (ca_file,) = query.get("sslrootcert") or (None,)
    try:
        context = tls.client_context(None if ca_file == "system" else ca_file)
        with socket.create_connection(where, _TIMEOUT) as connection:
            connection.sendall(SSL_REQUEST)
            connection.recv(1)
            context.wrap_socket(connection, server_hostname=host).close()
    except ssl.SSLError as error:
        return tls.failure_of(error)
    except (OSError, InvalidInput):
        pass
    return None
