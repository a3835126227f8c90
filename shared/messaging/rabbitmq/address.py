"""Parses the broker's URL; an address never shows the password."""

from dataclasses import dataclass, replace
from urllib.parse import parse_qs, unquote, urlsplit

import pika
from pika.credentials import PlainCredentials

from shared.errors import InvalidInput
from shared.server_urls import TLS_PARAMETERS
from shared.tls import client_context

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
        InvalidInput: not such a URL, or it has another parameter than RabbitMQ's for TLS files, or
            one of these cannot be used. The message repeats no more of it than a file's path, as
            it may hold a password.
    """
    try:
        parts = urlsplit(url)
        # pika accepts a URL without a password, and fails on it later.
        is_valid = parts.scheme in {"amqp", "amqps"} and parts.hostname and parts.port != 0
        if not is_valid or (parts.username is not None and parts.password is None):
            raise InvalidInput(_EXPECTED)
        parameters = pika.URLParameters(parts._replace(query="").geturl())
        given = parse_qs(parts.query, strict_parsing=bool(parts.query))
        files = {name: given.pop(name)[-1] for name in TLS_PARAMETERS if name in given}
    except (ValueError, TypeError):
        raise InvalidInput(_EXPECTED) from None  # their messages quote the URL
    if given:
        # pika's ssl_options among them, which can turn verification off.
        raise InvalidInput(
            f"the broker's URL may have no parameters but {', '.join(TLS_PARAMETERS)}; {_EXPECTED}"
        )
    if parameters.ssl_options is not None:
        context = client_context(*(files.get(name) for name in TLS_PARAMETERS))
        parameters.ssl_options = pika.SSLOptions(context)
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
