"""Chooses the broker adapter for a URL."""

from pathlib import Path

from shared.errors import InvalidInput
from shared.messaging.ports.broker import Broker


def broker_at(url: str, *, admin_url: str | None = None, app: str = "shop") -> Broker:
    """Create the broker for a URL; it connects when it is used.

    Args:
        url: `amqp://…`, `amqps://…` or `embedded:PATH`.
        admin_url: URL of RabbitMQ's management API, for set-up and checks; None without access.
        app: name of the connections in RabbitMQ's listings.

    Raises:
        InvalidInput: the URL is none of these; the message does not repeat it, as it may contain a
            password.
    """
    kind, _, rest = url.partition(":")
    if kind in ("amqp", "amqps"):
        # Imported here so that a process with the embedded broker does not load pika.
        from shared.messaging.rabbitmq import RabbitBroker  # noqa: PLC0415 - see above

        return RabbitBroker(url, admin_url=admin_url, app=app)
    if kind == "embedded" and rest:
        from shared.messaging.embedded import EmbeddedBroker  # noqa: PLC0415 - only the one in use

        return EmbeddedBroker(Path(rest))
    raise InvalidInput(
        "the broker's URL should be amqp://USER:PASSWORD@HOST/VHOST, amqps://… or embedded:PATH"
    )
