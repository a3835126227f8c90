"""The broker in a SQLite file: the same outcomes as RabbitMQ's, without a server."""

from shared.messaging.embedded.broker import EmbeddedBroker

__all__ = ["EmbeddedBroker"]
