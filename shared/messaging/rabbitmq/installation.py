"""Makes the broker as the topology says; again changes nothing."""

from collections.abc import Callable

from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from shared.errors import BrokerRefused, BrokerUnavailable
from shared.messaging.rabbitmq.address import Address
from shared.messaging.rabbitmq.declarations import (
    EXCHANGES,
    Arguments,
    Binding,
    bindings,
    is_ours,
    policies,
    queues,
)
from shared.messaging.rabbitmq.management import Management
from shared.messaging.rabbitmq.session import Session, open_session
from shared.messaging.topology import EVENTS, REPLAYS, Queue, Topology

WITHOUT_ADMIN = "it takes the management API (SHOP_BROKER_ADMIN_URL)"


def install(topology: Topology, address: Address, management: Management | None) -> list[str]:
    """Policies first, so that the first message finds its delays; stale bindings last.

    Returns:
        What was left undone for lack of permission, a sentence each.
    """
    with open_session(address) as session:  # first of all: it refuses a broker too old for this
        if management is not None:
            for name, policy in policies(topology).items():
                management.put("policies", address.vhost, name, content=policy)
        left = _declare(session, topology)
        if management is not None:
            for each in stale(topology, management, address.vhost):
                session.channel.queue_unbind(each.queue, each.exchange, each.key)
    if management is None:
        left += [
            f"the policies (delays, limits, retention) are as they were: {WITHOUT_ADMIN}",
            f"bindings no longer wanted were not looked for: {WITHOUT_ADMIN}",
        ]
    return left


def _declare(session: Session, topology: Topology) -> list[str]:
    left: list[str] = []

    def attempt(what: str, step: Callable[[BlockingChannel], object]) -> None:
        try:
            step(session.channel)
        except ChannelClosedByBroker as error:
            if error.reply_code == 406:
                raise BrokerRefused(
                    f"{what} is there, but made otherwise: {error.reply_text}"
                ) from error
            if error.reply_code != 403:
                raise
            left.append(f"{what} is as it was: {error.reply_text}")

    for name, kind in EXCHANGES.items():
        attempt(f"the exchange {name}", _exchange(name, kind))
    for name, arguments in queues(topology).items():
        attempt(f"the queue {name}", _queue(name, arguments))
    for binding in bindings(topology):
        attempt(str(binding), _bound(binding))
    return left


def _exchange(name: str, kind: str) -> Callable[[BlockingChannel], object]:
    return lambda channel: channel.exchange_declare(name, kind, durable=True)


def _queue(name: str, arguments: Arguments) -> Callable[[BlockingChannel], object]:
    return lambda channel: channel.queue_declare(name, durable=True, arguments=arguments)


def _bound(binding: Binding) -> Callable[[BlockingChannel], object]:
    return lambda channel: channel.queue_bind(binding.queue, binding.exchange, binding.key)


def present(management: Management, vhost: str) -> set[Binding]:
    """All bindings that the broker has."""
    listed = management.get("bindings", vhost) or []
    return {
        Binding(each["source"], each["destination"], each["routing_key"])
        for each in listed
        if each["destination_type"] == "queue"
    }


def stale(topology: Topology, management: Management, vhost: str) -> list[Binding]:
    """Bindings of queues of ours, and of those of services that are no more, not wanted now.

    A queue that a person made to look at events is left alone.
    """
    listed = management.get("queues", vhost) or []
    ours = {each["name"] for each in listed if is_ours(each["arguments"])}
    wanted = set(bindings(topology))
    return sorted(
        each
        for each in present(management, vhost) - wanted
        if each.exchange in {EVENTS, REPLAYS} and each.queue in ours
    )


def bind(queue: Queue, address: Address) -> None:
    """Bind a service's own queue to its topics, as far as a service may.

    Raises:
        BrokerUnavailable: also when the queue is not there.
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
