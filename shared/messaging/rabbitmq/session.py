"""A short-lived connection that is used from the calling thread, for set-up and checks."""

from collections.abc import Iterator
from contextlib import contextmanager

import pika
from pika.adapters.blocking_connection import BlockingChannel

from shared.messaging.rabbitmq import pika_internals
from shared.messaging.rabbitmq.address import Address
from shared.messaging.rabbitmq.errors import PIKA_ERRORS, broker_error, supported_version


class Session:
    """An open connection; `version` is the product and version of the broker."""

    def __init__(self, connection: pika.BlockingConnection, *, version: str) -> None:
        self._connection = connection
        self._channel: BlockingChannel | None = None
        self.version = version

    @property
    def channel(self) -> BlockingChannel:
        """An open channel; a new one if the broker has closed the previous one."""
        if self._channel is None or not self._channel.is_open:
            self._channel = self._connection.channel()
        return self._channel


@contextmanager
def open_session(address: Address) -> Iterator[Session]:
    """Connect, and close the connection at the end of the block.

    Raises:
        BrokerUnavailable: in place of what pika raises, also within the block.
        BrokerRefused: the broker refuses the user, or is too old.
    """
    try:
        connection = pika.BlockingConnection(address.parameters)
        try:
            version = supported_version(pika_internals.server_properties(connection))
            yield Session(connection, version=version)
        finally:
            if connection.is_open:
                connection.close()
    except PIKA_ERRORS as error:
        raise broker_error(error, address) from error
