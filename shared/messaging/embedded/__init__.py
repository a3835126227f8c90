"""The embedded broker: the guarantees of the port on a SQLite file, without a server."""

from shared.messaging.embedded.broker import EmbeddedBroker

__all__ = ["EmbeddedBroker"]
