"""Which broker a URL means."""

from pathlib import Path

from shared.errors import InvalidInput
from shared.messaging.ports.broker import Broker


def broker_at(url: str, *, admin_url: str | None = None, app: str = "shop") -> Broker:
    """The broker at a URL; it connects when it is used.

    Args:
        url: `amqp://…`, `amqps://…` or `embedded:PATH`.
        admin_url: RabbitMQ's management API, for set-up and checks; None for those without.
        app: how the connections are named where one looks at the broker.

    Raises:
        InvalidInput: it is no such URL; the sentence repeats none of it: it may hold a password.
    """
    kind, _, rest = url.partition(":")
    if kind in ("amqp", "amqps"):
        # Imported here alone, so that who uses the embedded broker never loads pika.
        from shared.messaging.rabbitmq import RabbitBroker  # noqa: PLC0415 - see above

        return RabbitBroker(url, admin_url=admin_url, app=app)
    if kind == "embedded" and rest:
        from shared.messaging.embedded import EmbeddedBroker  # noqa: PLC0415 - only the one in use

        return EmbeddedBroker(Path(rest))
    raise InvalidInput(
        "the broker's URL should be amqp://USER:PASSWORD@HOST/VHOST, amqps://… or embedded:PATH"
    )
