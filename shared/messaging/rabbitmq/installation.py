"""Applies the topology to the broker; applying it again changes nothing."""

from collections.abc import Callable, Iterator
from functools import partial

from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from shared.errors import BrokerRefused, BrokerUnavailable
from shared.messaging.rabbitmq.address import Address
from shared.messaging.rabbitmq.bindings import existing_bindings, remove, stale_bindings
from shared.messaging.rabbitmq.declarations import (
    EXCHANGES,
    bindings,
    policies,
    queues,
)
from shared.messaging.rabbitmq.management import Management
from shared.messaging.rabbitmq.session import Session, open_session
from shared.messaging.topology import EVENTS, Queue, Topology

_WITHOUT_ADMIN = "that needs the management API (SHOP_BROKER_ADMIN_URL)"


def install(topology: Topology, address: Address, management: Management | None) -> list[str]:
    """Apply the policies before the queues exist, so that they hold for the first message.

    Returns:
        What was not done for lack of permission, a sentence each.

    Raises:
        BrokerUnavailable: the broker or its management API cannot be reached.
        BrokerRefused: the broker is too old, or holds a part with other properties.
    """
    with open_session(address) as session:  # before the policies: it refuses a broker too old
        if management is not None:
            for name, policy in policies(topology).items():
                management.put("policies", address.vhost, name, content=policy)
        skipped = _declare(session, topology)
        if management is not None:
            _unbind(topology, management, address.vhost)
    if management is None:
        skipped += [
            f"the policies (delays, limits, retention) were not applied: {_WITHOUT_ADMIN}",
            f"stale bindings were not removed: {_WITHOUT_ADMIN}",
        ]
    return skipped


def _declare(session: Session, topology: Topology) -> list[str]:
    skipped = []
    for part, declare in _declarations(topology):
        try:
            declare(session.channel)
        except ChannelClosedByBroker as error:
            if error.reply_code == 406:
                raise BrokerRefused(
                    f"{part} exists with other properties: {error.reply_text}"
                ) from error
            if error.reply_code != 403:
                raise
            skipped.append(f"{part} was not declared: {error.reply_text}")
    return skipped


def _declarations(topology: Topology) -> Iterator[tuple[str, Callable[[BlockingChannel], object]]]:
    """What is declared, in this order, and how."""
    for name, kind in EXCHANGES.items():
        exchange = partial(BlockingChannel.exchange_declare, exchange=name, exchange_type=kind)
        yield f"the exchange {name}", partial(exchange, durable=True)
    for name, arguments in queues(topology).items():
        queue = partial(BlockingChannel.queue_declare, queue=name, arguments=arguments)
        yield f"the queue {name}", partial(queue, durable=True)
    for binding in bindings(topology):
        yield (
            str(binding),
            partial(
                BlockingChannel.queue_bind,
                queue=binding.queue,
                exchange=binding.exchange,
                routing_key=binding.key,
            ),
        )


def _unbind(topology: Topology, management: Management, vhost: str) -> None:
    existing = existing_bindings(management, vhost)
    for binding in stale_bindings(topology, existing, management, vhost):
        remove(binding, management, vhost)


def bind(queue: Queue, address: Address) -> None:
    """Bind a service's own queue to its topics, with that service's permissions.

    Raises:
        BrokerUnavailable: the broker cannot be reached, or the queue does not exist.
        BrokerRefused: the service may not subscribe to one of the topics.
    """
    with open_session(address) as session:
        try:
            for topic in sorted(queue.topics):
                session.channel.queue_bind(queue.name, EVENTS, topic)
        except ChannelClosedByBroker as error:
            if error.reply_code != 404:
                raise
            raise BrokerUnavailable(
                f"the broker at {address} has no queue {queue.name}, run `shop setup`"
            ) from error
