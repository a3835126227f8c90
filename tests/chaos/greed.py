"""Takes all connections and channels that one user may have; they are released with the block."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import pika
import psycopg
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import AMQPError

from shared.messaging.ports.publisher import Message
from shared.messaging.rabbitmq.errors import PIKA_ERRORS
from shared.messaging.rabbitmq.wire import properties_of, target

Headers = dict[str, Any] | None

MAX_TAKEN = 400
"""Far more than any limit, for a server that has none."""

NESTED_DEPTH = 300
"""Too deep for a reader that decodes by recursion, and not too deep for pika to encode."""


def deep_headers() -> Headers:
    """Headers that are nested `NESTED_DEPTH` deep."""
    headers: dict[str, Any] = {}
    for _ in range(NESTED_DEPTH):
        headers = {"a": headers}
    return headers


@contextmanager
def broker_taken(
    url: str, user: str, flood: Sequence[tuple[Message, Headers]]
) -> Iterator[tuple[int, int]]:
    """Publish messages, and take the connections and channels that the user may have.

    Returns:
        The numbers of connections and of channels.
    """
    parameters = pika.URLParameters(url)
    parameters.heartbeat = 0  # nobody serves the connections that are only held
    with ExitStack() as stack:
        first = _connected(parameters, stack)
        _publish(first.channel(), user, flood)
        connections = [first, *_until_refused(lambda: _connected(parameters, stack))]
        # The broker ends the connection that asks for too many channels, with its channels.
        channels = sum(1 for _ in _until_refused(lambda: _one_more_channel(connections)))
        yield len(connections), channels


def _connected(parameters: pika.URLParameters, stack: ExitStack) -> BlockingConnection:
    connection = BlockingConnection(parameters)
    stack.callback(_close, connection)
    return connection


def _close(connection: BlockingConnection) -> None:
    with suppress(*PIKA_ERRORS):  # the broker may have ended it
        connection.close()


def _one_more_channel(connections: list[BlockingConnection]) -> BlockingChannel:
    connections.append(connections.pop(0))
    return connections[-1].channel()


def _publish(channel: BlockingChannel, user: str, flood: Sequence[tuple[Message, Headers]]) -> None:
    channel.confirm_delivery()
    for message, headers in flood:
        properties = properties_of(message, user=user)
        properties.headers = headers or properties.headers
        channel.basic_publish(*target(message), message.body, properties)


@contextmanager
def role_taken(url: str) -> Iterator[int]:
    """Take the connections that a role may have; returns their number."""
    with ExitStack() as stack:

        def connect() -> psycopg.Connection:
            return stack.enter_context(closing(psycopg.connect(url, connect_timeout=5)))

        yield sum(1 for _ in _until_refused(connect))


def _until_refused(take: Callable[[], Any]) -> Iterator[Any]:
    """Take one after the other, until the server says that this is the limit."""
    for _ in range(MAX_TAKEN):
        try:
            yield take()
        except (AMQPError, psycopg.OperationalError) as error:
            if not any(word in str(error) for word in ("limit", "too many connections")):
                raise
            return
