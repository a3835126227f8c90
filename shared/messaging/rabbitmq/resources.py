"""Finds the memory and disk space that the broker lacks, or will lack soon.

When a node has too little of one, it sets an alarm: all nodes block the connections that publish,
and the relays of all services wait, until it is cleared.

Source: https://www.rabbitmq.com/docs/alarms
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shared.messaging.rabbitmq.management import Management

MAX_MEMORY_USE = 0.9
"""Of the memory at which a node sets its alarm."""

MIN_FREE_DISK = 2.0
"""Times the free space at which a node sets its alarm."""

_BLOCKED = {"blocked", "blocking"}
"""States of connections that may not publish; one that is blocking has not tried to yet."""

_MB = 1_000_000

_RESOURCES = {"disk space": "disk"}
"""Our word for what the broker's health check names otherwise than its nodes do."""

_REMEDIES = {
    "memory": "find what fills it (long queues, many connections) and remove that, or give the "
    "broker more memory",
    "disk": "free space on the broker's disk, or give it a larger one",
}


def shortages(management: Management) -> Iterator[str]:
    """A sentence for each alarm, each resource that is nearly used up, and blocked connections."""
    nodes = management.get("nodes") or []
    alarms = _alarms(management, nodes)
    for node, resource in alarms:
        remedy = _REMEDIES.get(resource, "see the broker's log")
        yield (
            f"the {resource} alarm of the node {node} stands, so the broker accepts no events: "
            f"{remedy}"
        )
    for node in nodes:
        yield from _nearly_used_up(node, {each for name, each in alarms if name == node["name"]})
    yield from _blocked(management)


def _alarms(management: Management, nodes: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Node and resource of each alarm; the nodes' own statistics are some seconds old."""
    listed = [
        (str(each.get("node")), str(each.get("resource")))
        for each in management.check("alarms").get("alarms", [])
    ]
    flags = (("mem_alarm", "memory"), ("disk_free_alarm", "disk"))
    return sorted(
        {(node, _RESOURCES.get(resource, resource)) for node, resource in listed}
        | {(node["name"], name) for node in nodes for flag, name in flags if node.get(flag)}
    )


def _nearly_used_up(node: Mapping[str, Any], alarms: set[str]) -> Iterator[str]:
    name = node["name"]
    if not node.get("running"):
        yield f"the node {name} does not run: start it"
        return
    used, limit = _bytes(node, "mem_used"), _bytes(node, "mem_limit")
    if "memory" not in alarms and used > MAX_MEMORY_USE * limit > 0:
        yield (
            f"the node {name} uses {used / limit:.0%} of the memory at which the broker accepts no "
            f"more events ({limit // _MB} MB): {_REMEDIES['memory']}"
        )
    free, least = _bytes(node, "disk_free"), _bytes(node, "disk_free_limit")
    if "disk" not in alarms and 0 < free < MIN_FREE_DISK * least:
        yield (
            f"the node {name} has {free // _MB} MB of disk left, and at {least // _MB} MB the "
            f"broker accepts no more events: {_REMEDIES['disk']}"
        )


def _bytes(node: Mapping[str, Any], key: str) -> int:
    """A figure of a node; 0 if it is unknown, which the broker says in words."""
    value = node.get(key)
    return value if isinstance(value, int) else 0


def _blocked(management: Management) -> Iterator[str]:
    connections = management.get("connections", columns="user,state") or []
    users = [each.get("user", "") for each in connections if each.get("state") in _BLOCKED]
    if users:
        names = ", ".join(sorted(set(users)))
        number = f"{len(users)} {'connection' if len(users) == 1 else 'connections'}"
        yield f"the broker blocks {number} of {names}: remove the cause of its alarm"
