"""Parses the broker's URL; an address never shows the password."""

from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

import pika
from pika.credentials import PlainCredentials

from shared.errors import InvalidInput

HEARTBEAT = 12
"""Seconds. A frozen broker is detected after 2 × (heartbeat + 5)."""

CONNECT_TIMEOUT = 10.0
"""Seconds. A frozen broker accepts a connection and sends nothing."""

_EXPECTED = "the broker's URL should look like amqp://user:password@host:5672/vhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A broker's address and user; str and repr show host and port only."""

    parameters: pika.ConnectionParameters
    user: str
    vhost: str

    def __str__(self) -> str:
        return f"{self.parameters.host}:{self.parameters.port}"

    def __repr__(self) -> str:
        return f"Address({self})"

    def with_connection_name(self, name: str) -> "Address":
        """The same address; its connections have this name in the broker's listings."""
        return replace(self, parameters=_parameters(self.parameters, name))


def parse(url: str) -> Address:
    """Parse an AMQP URL.

    Raises:
        InvalidInput: the URL is invalid; it is not quoted, as it may hold a password.
    """
    try:
        parts = urlsplit(url)
        # pika accepts a URL without a password, and fails on it later.
        is_valid = parts.scheme in {"amqp", "amqps"} and parts.hostname and parts.port != 0
        if not is_valid or (parts.username is not None and parts.password is None):
            raise InvalidInput(_EXPECTED)
        parameters = pika.URLParameters(url)
    except (ValueError, TypeError):
        raise InvalidInput(_EXPECTED) from None  # their messages quote the URL
    credentials = parameters.credentials
    user = (credentials.username or "") if isinstance(credentials, PlainCredentials) else ""
    vhost = unquote(parts.path.removeprefix("/")) or "/"
    return Address(parameters=_parameters(parameters, "shop", vhost), user=user, vhost=vhost)


def _parameters(
    given: pika.connection.Parameters, connection_name: str, vhost: str | None = None
) -> pika.ConnectionParameters:
    return pika.ConnectionParameters(
        host=given.host,
        port=given.port,
        virtual_host=given.virtual_host if vhost is None else vhost,
        credentials=given.credentials,
        ssl_options=given.ssl_options,
        heartbeat=HEARTBEAT,
        # A memory or disk alarm blocks publishing connections until it is cleared.
        blocked_connection_timeout=60,
        socket_timeout=5,
        stack_timeout=CONNECT_TIMEOUT,
        client_properties={"connection_name": connection_name},
    )
