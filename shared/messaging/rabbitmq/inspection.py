"""What at the broker is not as the topology says, a sentence each."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from shared.messaging.ports.broker import Depth
from shared.messaging.rabbitmq.address import Address
from shared.messaging.rabbitmq.declarations import EXCHANGES, bindings, policies, queues
from shared.messaging.rabbitmq.installation import present, stale
from shared.messaging.rabbitmq.management import Management
from shared.messaging.rabbitmq.session import Session, open_session
from shared.messaging.topology import Topology


def inspect(topology: Topology, address: Address, management: Management | None) -> list[str]:
    """Through the management API all of it; without, whether exchanges and queues are there."""
    with open_session(address) as session:
        if management is None:
            return list(_missing(session, topology))
    return [
        *_exchanges(management, address.vhost),
        *_queues(topology, management, address.vhost),
        *_bindings(topology, management, address.vhost),
        *_policies(topology, management, address.vhost),
    ]


def depth_of(queue: str, address: Address) -> Depth:
    """What a queue holds and who takes it, which a service may ask of its own queues."""
    with open_session(address) as session:
        found = session.channel.queue_declare(queue, passive=True).method
        return Depth(found.message_count, found.consumer_count)


def _missing(session: Session, topology: Topology) -> Iterator[str]:
    for name in EXCHANGES:
        if _is_missing(session, partial(_look_at_exchange, name)):
            yield f"the exchange {name} is missing"
    for name in queues(topology):
        if _is_missing(session, partial(_look_at_queue, name)):
            yield f"the queue {name} is missing"


def _look_at_exchange(name: str, channel: BlockingChannel) -> None:
    channel.exchange_declare(name, passive=True)


def _look_at_queue(name: str, channel: BlockingChannel) -> None:
    channel.queue_declare(name, passive=True)


def _is_missing(session: Session, look: Callable[[BlockingChannel], None]) -> bool:
    try:
        look(session.channel)
    except ChannelClosedByBroker as error:
        if error.reply_code not in {403, 404}:
            raise
        return bool(error.reply_code == 404)  # 403: a neighbour's, not for this user to see
    return False


def _exchanges(management: Management, vhost: str) -> Iterator[str]:
    for name, kind in EXCHANGES.items():
        found = management.get("exchanges", vhost, name)
        if found is None:
            yield f"the exchange {name} is missing"
        elif found["type"] != kind or not found["durable"]:
            yield f"the exchange {name} is no durable {kind} exchange"


def _queues(topology: Topology, management: Management, vhost: str) -> Iterator[str]:
    found = {each["name"]: each for each in management.get("queues", vhost) or []}
    tuned_by = {policy: name for name in queues(topology) for policy in [f"shop-{name}"]}
    for name, arguments in queues(topology).items():
        if name not in found:
            yield f"the queue {name} is missing"
            continue
        yield from _differing(f"the queue {name}", arguments, found[name]["arguments"])
        # The name of the policy follows a change some seconds late, so none is no finding here.
        policy = found[name].get("policy")
        if policy and tuned_by.get(policy) != name:
            yield f"the queue {name} is under the policy {policy}, which is not ours"


def _differing(
    what: str, wanted: Mapping[str, object], found: Mapping[str, object]
) -> Iterator[str]:
    for key, value in wanted.items():
        if found.get(key) != value:
            yield f"{what} has {key} = {found.get(key)!r}, it should be {value!r}"


def _bindings(topology: Topology, management: Management, vhost: str) -> Iterator[str]:
    there = present(management, vhost)
    for binding in bindings(topology):
        if binding not in there:
            yield f"{binding} is missing"
    for binding in stale(topology, management, vhost):
        yield f"{binding} should not be there"


def _policies(topology: Topology, management: Management, vhost: str) -> Iterator[str]:
    # The list may be read by a user who only monitors; a single one by administrators alone.
    all_found = {each["name"]: each for each in management.get("policies", vhost) or []}
    for name, wanted in policies(topology).items():
        if name not in all_found:
            yield f"the policy {name} is missing"
            continue
        found = all_found[name]
        definition = wanted["definition"]
        if not isinstance(definition, dict):
            raise TypeError(definition)
        shape = {key: wanted[key] for key in ("pattern", "apply-to", "priority")}
        yield from _differing(f"the policy {name}", shape, found)
        yield from _differing(f"the policy {name}", definition, found["definition"])
