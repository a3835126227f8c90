"""The RabbitMQ adapter of the broker port; the only package that imports pika."""

from shared.messaging.rabbitmq.broker import RabbitBroker
from shared.messaging.rabbitmq.permissions import grant

__all__ = ["RabbitBroker", "grant"]
