"""A short conversation with the broker, from the calling thread, for set-up and checks."""

from collections.abc import Iterator
from contextlib import contextmanager

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError

from shared.messaging.rabbitmq.address import Address
from shared.messaging.rabbitmq.errors import unavailable, version

FAILURES = (AMQPError, AMQPConnectorException, OSError, ValueError)
"""What pika raises; ValueError after a loss, see pika's issue 1291."""


class Session:
    """A connection for one thing after another.

    Attributes:
        version: name and version of the broker.
    """

    def __init__(self, connection: pika.BlockingConnection, *, version: str) -> None:
        self._connection = connection
        self._channel: BlockingChannel | None = None
        self.version = version

    @property
    def channel(self) -> BlockingChannel:
        """An open channel; a new one after the broker has closed the one before."""
        if self._channel is None or not self._channel.is_open:
            self._channel = self._connection.channel()
        return self._channel


@contextmanager
def open_session(
    address: Address, kind: type[pika.SelectConnection] | None = None
) -> Iterator[Session]:
    """A session, closed at the end.

    Args:
        kind: what pika's connection is made of; by default of its own.

    Raises:
        BrokerUnavailable: it does not answer, refuses, or is too old.
    """
    try:
        connection = pika.BlockingConnection(address.parameters, _impl_class=kind)  # type: ignore[arg-type] # it says an instance
        try:
            server = connection._impl.server_properties  # noqa: SLF001 - the blocking one hides it
            yield Session(connection, version=version(server))
        finally:
            if connection.is_open:
                connection.close()
    except FAILURES as error:
        raise unavailable(error, address) from error
