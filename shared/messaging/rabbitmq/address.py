"""Where the broker is, and as whom; what may be said of it holds no password."""

from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

import pika
from pika.credentials import PlainCredentials

from shared.errors import InvalidInput

HEARTBEAT = 12
"""Seconds. A frozen broker is noticed after 2 × (heartbeat + 5)."""

CONNECT_SECONDS = 10.0
"""A frozen broker takes a connection, and then says nothing."""

_SHOULD_BE = "the broker's URL should look like amqp://user:password@host:5672/vhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A broker's address; printing it shows no password."""

    parameters: pika.ConnectionParameters
    user: str
    vhost: str

    def __str__(self) -> str:
        return f"{self.parameters.host}:{self.parameters.port}"

    def __repr__(self) -> str:
        return f"Address({self})"

    def named(self, connection: str) -> "Address":
        """The same, for a connection that shows under that name at the broker."""
        return replace(self, parameters=_parameters(self.parameters, connection))


def parse(url: str) -> Address:
    """The address that an AMQP URL stands for.

    Raises:
        InvalidInput: it is none. The sentence repeats nothing of it: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        # pika would take a URL without a password for one, and fail in its own words.
        usable = parts.scheme in {"amqp", "amqps"} and parts.hostname and parts.port != 0
        if not usable or (parts.username is not None and parts.password is None):
            raise InvalidInput(_SHOULD_BE)
        parameters = pika.URLParameters(url)
    except (ValueError, TypeError):
        raise InvalidInput(_SHOULD_BE) from None  # their texts quote the URL
    credentials = parameters.credentials
    user = (credentials.username or "") if isinstance(credentials, PlainCredentials) else ""
    vhost = unquote(parts.path.removeprefix("/")) or "/"
    return Address(parameters=_parameters(parameters, "shop", vhost), user=user, vhost=vhost)


def _parameters(
    given: pika.connection.Parameters, connection: str, vhost: str | None = None
) -> pika.ConnectionParameters:
    return pika.ConnectionParameters(
        host=given.host,
        port=given.port,
        virtual_host=given.virtual_host if vhost is None else vhost,
        credentials=given.credentials,
        ssl_options=given.ssl_options,
        heartbeat=HEARTBEAT,
        # Alarms block publishing connections until somebody frees memory or disk.
        blocked_connection_timeout=60,
        socket_timeout=5,
        stack_timeout=CONNECT_SECONDS,
        client_properties={"connection_name": connection},
    )
