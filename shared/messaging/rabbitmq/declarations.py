"""The topology as RabbitMQ's declarations: data only.

Settings that keep messages safe are arguments of the queues, which cannot be changed; settings to
tune are in policies, which can be changed at any time.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from shared.messaging.topology import (
    DEAD_LETTERS,
    EVENTS,
    HISTORY,
    REPLAYS,
    Queue,
    Topology,
    dead_queue,
)

EXCHANGES = {EVENTS: "topic", DEAD_LETTERS: "direct", REPLAYS: "topic"}
"""Type by name."""

Arguments = dict[str, object]


class Binding(NamedTuple):
    """Routes messages of an exchange to a queue."""

    exchange: str
    queue: str
    key: str

    def __str__(self) -> str:
        return f"the binding of {self.queue} to {self.exchange} by {self.key}"


def queues(topology: Topology) -> dict[str, Arguments]:
    """Arguments by name. Dead queues come first, so that no dead letter is without its queue."""
    dead: dict[str, Arguments] = {
        # The default delivery limit would delete a dead letter when it is listed the 21st time.
        dead_queue(queue.name): {"x-queue-type": "quorum", "x-delivery-limit": -1}
        for queue in topology.queues
    }
    live: dict[str, Arguments] = {
        queue.name: {
            "x-queue-type": "quorum",
            "x-dead-letter-exchange": DEAD_LETTERS,
            "x-dead-letter-routing-key": queue.name,
            "x-dead-letter-strategy": "at-least-once",
            # With the default overflow, at-least-once becomes at-most-once.
            "x-overflow": "reject-publish",
        }
        for queue in topology.queues
    }
    return dead | {HISTORY: {"x-queue-type": "stream"}} | live


def is_service_queue(arguments: object) -> bool:
    """Whether these are the arguments of a service's queue, also of a former service."""
    return isinstance(arguments, dict) and arguments.get("x-dead-letter-exchange") == DEAD_LETTERS


def bindings(topology: Topology) -> Iterator[Binding]:
    """All bindings of the topology."""
    for queue in topology.queues:
        yield Binding(DEAD_LETTERS, dead_queue(queue.name), queue.name)
    yield Binding(EVENTS, HISTORY, "#")
    for queue in topology.queues:
        yield Binding(REPLAYS, queue.name, queue.name)
        for topic in sorted(queue.topics):
            yield Binding(EVENTS, queue.name, topic)


def policies(topology: Topology) -> dict[str, Arguments]:
    """Policies by name, as the management API takes them."""
    history = topology.history
    retention: Arguments = {
        "max-age": f"{history.days}D",
        "max-length-bytes": history.max_bytes,
        "stream-max-segment-size-bytes": history.segment_bytes,
    }
    return {
        policy_name(queue.name): _policy(queue.name, "quorum_queues", _tuning(queue))
        for queue in topology.queues
    } | {policy_name(HISTORY): _policy(HISTORY, "streams", retention)}


def policy_name(queue: str) -> str:
    """The name of a queue's policy."""
    return f"shop-{queue}"


def _policy(queue: str, kind: str, definition: Arguments) -> Arguments:
    pattern = f"^{re.escape(queue)}$"
    return {"pattern": pattern, "apply-to": kind, "priority": 10, "definition": definition}


def _tuning(queue: Queue) -> Arguments:
    return {
        "delayed-retry-type": "failed",
        "delayed-retry-min": int(queue.retry.delay * 1000),
        "delayed-retry-max": int(queue.retry.max_delay * 1000),
        "delivery-limit": queue.retry.max_retries,
        # A process ends itself at the deadline; the broker acts only if it could not.
        "consumer-timeout": int((2 * queue.deadline + 60) * 1000),
    }
