"""Compares the broker with the topology, and describes each difference in a sentence."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from shared.messaging.ports.broker import Depth
from shared.messaging.rabbitmq import user_limits
from shared.messaging.rabbitmq.address import Address
from shared.messaging.rabbitmq.bindings import (
    existing_bindings,
    missing_bindings,
    stale_bindings,
)
from shared.messaging.rabbitmq.declarations import (
    EXCHANGES,
    Arguments,
    policies,
    policy_name,
    queues,
)
from shared.messaging.rabbitmq.management import Management
from shared.messaging.rabbitmq.session import Session, open_session
from shared.messaging.topology import Topology


def inspect(topology: Topology, address: Address, management: Management | None) -> list[str]:
    """All differences; without the management API only missing exchanges and queues."""
    with open_session(address) as session:
        if management is None:
            return list(_missing(session, topology))
    return [
        *_exchanges(management, address.vhost),
        *_queues(topology, management, address.vhost),
        *_bindings(topology, management, address.vhost),
        *_policies(topology, management, address.vhost),
        *_user_limits(topology, management),
    ]


def depth_of(queue: str, address: Address) -> Depth:
    """What a queue holds, with the permissions of the service that owns it."""
    with open_session(address) as session:
        declared = session.channel.queue_declare(queue, passive=True).method
        return Depth(declared.message_count, declared.consumer_count)


def _missing(session: Session, topology: Topology) -> Iterator[str]:
    for name in EXCHANGES:
        exchange = partial(BlockingChannel.exchange_declare, exchange=name, passive=True)
        if _is_missing(session, exchange):
            yield f"the exchange {name} is missing"
    for name in queues(topology):
        queue = partial(BlockingChannel.queue_declare, queue=name, passive=True)
        if _is_missing(session, queue):
            yield f"the queue {name} is missing"


def _is_missing(session: Session, declare: Callable[[BlockingChannel], object]) -> bool:
    try:
        declare(session.channel)
    except ChannelClosedByBroker as error:
        if error.reply_code not in {403, 404}:
            raise
        return bool(error.reply_code == 404)  # 403: another service's, which this user may not see
    return False


def _exchanges(management: Management, vhost: str) -> Iterator[str]:
    for name, kind in EXCHANGES.items():
        exchange = management.get("exchanges", vhost, name)
        if exchange is None:
            yield f"the exchange {name} is missing"
        elif exchange["type"] != kind or not exchange["durable"]:
            yield f"the exchange {name} is not a durable {kind} exchange"


def _queues(topology: Topology, management: Management, vhost: str) -> Iterator[str]:
    existing = {queue["name"]: queue for queue in management.get("queues", vhost) or []}
    for name, arguments in queues(topology).items():
        if name not in existing:
            yield f"the queue {name} is missing"
            continue
        yield from _differences(f"the queue {name}", arguments, existing[name]["arguments"])
        # The broker shows a policy seconds after it applies it, so no policy is no difference.
        policy = existing[name].get("policy")
        if policy and policy != policy_name(name):
            yield f"the queue {name} has the foreign policy {policy}"


def _bindings(topology: Topology, management: Management, vhost: str) -> Iterator[str]:
    existing = existing_bindings(management, vhost)
    for missing in missing_bindings(topology, existing):
        yield f"{missing} is missing"
    for stale in stale_bindings(topology, existing, management, vhost):
        yield f"{stale} is stale"


def _policies(topology: Topology, management: Management, vhost: str) -> Iterator[str]:
    # A user with the tag "monitoring" may read the list; a single policy only an administrator.
    existing = {policy["name"]: policy for policy in management.get("policies", vhost) or []}
    for name, expected in policies(topology).items():
        if name in existing:
            yield from _differences(f"the policy {name}", _flat(expected), _flat(existing[name]))
        else:
            yield f"the policy {name} is missing"


def _user_limits(topology: Topology, management: Management) -> Iterator[str]:
    if topology.has_users:
        yield from user_limits.differences(management, (each.name for each in topology.queues))


def _flat(policy: Mapping[str, object]) -> Arguments:
    definition = policy["definition"]
    keys = ("pattern", "apply-to", "priority")
    return {key: policy[key] for key in keys} | (definition if isinstance(definition, dict) else {})


def _differences(
    part: str, expected: Mapping[str, object], existing: Mapping[str, object]
) -> Iterator[str]:
    for key, value in expected.items():
        if existing.get(key) != value:
            yield f"{part} has {key} = {existing.get(key)!r}, it should be {value!r}"
