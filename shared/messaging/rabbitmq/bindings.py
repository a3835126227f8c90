"""The bindings that the broker has, compared with those of the topology.

A service may bind its own queue to what it subscribes to, with any arguments, and as a side effect
of its permissions one of our exchanges to another. So bindings that the topology does not have may
appear without an administrator.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from shared.messaging.rabbitmq.declarations import (
    EXCHANGES,
    Binding,
    bindings,
    is_service_queue,
)
from shared.messaging.rabbitmq.management import Management
from shared.messaging.topology import DEAD_LETTERS, HISTORY, Topology, dead_queue

_QUEUE, _EXCHANGE = "q", "e"
_DEFAULT_EXCHANGE = ""
"""It has a binding to each queue, by that queue's name, which nobody can change."""


@dataclass(frozen=True, slots=True, order=True)
class ExistingBinding:
    """A binding at the broker.

    Attributes:
        kind: what the destination is, as the management API abbreviates it.
        identity: the management API's name for the routing key and the arguments together.
    """

    exchange: str
    destination: str
    key: str
    kind: str
    identity: str
    has_arguments: bool

    def __str__(self) -> str:
        kind = "the exchange " if self.kind == _EXCHANGE else ""
        arguments = " with arguments" if self.has_arguments else ""
        return (
            f"the binding of {kind}{self.destination} to {self.exchange} by {self.key}{arguments}"
        )

    @property
    def as_declared(self) -> Binding | None:
        """The same as the topology declares it; None if the topology declares no such ones."""
        if self.kind != _QUEUE or self.has_arguments:
            return None
        return Binding(self.exchange, self.destination, self.key)


def existing_bindings(management: Management, vhost: str) -> list[ExistingBinding]:
    """All bindings at the broker, in order."""
    return sorted(
        ExistingBinding(
            exchange=listed["source"],
            destination=listed["destination"],
            key=listed["routing_key"],
            kind=_QUEUE if listed["destination_type"] == "queue" else _EXCHANGE,
            identity=listed["properties_key"],
            has_arguments=bool(listed["arguments"]),
        )
        for listed in management.get("bindings", vhost) or []
        if listed["source"] != _DEFAULT_EXCHANGE
    )


def missing_bindings(topology: Topology, existing: Iterable[ExistingBinding]) -> list[Binding]:
    """The bindings of the topology that the broker does not have."""
    found = {each.as_declared for each in existing}
    return [each for each in bindings(topology) if each not in found]


def stale_bindings(
    topology: Topology, existing: Iterable[ExistingBinding], management: Management, vhost: str
) -> list[ExistingBinding]:
    """Bindings that the topology does not have, and that bring messages to its queues or exchanges.

    Also those of former services' queues, except of their dead queues: what waits in the queue may
    still die. A queue that an administrator made, such as to watch events, may have any bindings;
    a service cannot make one.
    """
    former = {
        listed["name"]
        for listed in management.get("queues", vhost) or []
        if is_service_queue(listed["arguments"])
    }
    current = {queue.name for queue in topology.queues}
    services = former | current
    ours = services | {dead_queue(name) for name in services} | {HISTORY}
    declared = {
        *bindings(topology),
        *(Binding(DEAD_LETTERS, dead_queue(name), name) for name in former),
    }
    return [
        each
        for each in existing
        if each.as_declared not in declared
        and each.destination in (EXCHANGES if each.kind == _EXCHANGE else ours)
    ]


def remove(binding: ExistingBinding, management: Management, vhost: str) -> None:
    """Remove a binding, with whatever arguments it has."""
    source, destination = ("e", binding.exchange), (binding.kind, binding.destination)
    management.delete("bindings", vhost, *source, *destination, binding.identity)
