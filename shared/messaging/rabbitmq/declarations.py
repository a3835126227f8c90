"""The topology in RabbitMQ's words: data, no calls.

Safety stands in the queues' arguments, where no click can take it away; tuning in policies, which
can change while all runs.
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

Arguments = dict[str, object]


class Binding(NamedTuple):
    """What a queue gets of an exchange."""

    exchange: str
    queue: str
    key: str

    def __str__(self) -> str:
        return f"the binding of {self.queue} to {self.exchange} by {self.key}"


def queues(topology: Topology) -> dict[str, Arguments]:
    """Arguments by name; the dead queues come first, so that no dead letter finds none."""
    dead = {dead_queue(each.name): _dead_arguments() for each in topology.queues}
    live = {each.name: _arguments(each) for each in topology.queues}
    return dead | {HISTORY: {"x-queue-type": "stream"}} | live


def _arguments(queue: Queue) -> Arguments:
    return {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": DEAD_LETTERS,
        "x-dead-letter-routing-key": queue.name,
        "x-dead-letter-strategy": "at-least-once",
        # Without it at-least-once falls back to at-most-once.
        "x-overflow": "reject-publish",
    }


def _dead_arguments() -> Arguments:
    # By default the 21st look at a dead letter would delete it.
    return {"x-queue-type": "quorum", "x-delivery-limit": -1}


def is_ours(arguments: object) -> bool:
    """Whether a queue with these arguments is, or was once, a service's."""
    return isinstance(arguments, dict) and arguments.get("x-dead-letter-exchange") == DEAD_LETTERS


def bindings(topology: Topology) -> Iterator[Binding]:
    """All bindings there should be."""
    for queue in topology.queues:
        yield Binding(DEAD_LETTERS, dead_queue(queue.name), queue.name)
    yield Binding(EVENTS, HISTORY, "#")
    for queue in topology.queues:
        yield Binding(REPLAYS, queue.name, queue.name)
        for topic in sorted(queue.topics):
            yield Binding(EVENTS, queue.name, topic)


def policies(topology: Topology) -> dict[str, dict[str, object]]:
    """What the management API takes, by the policy's name."""
    tuning = {
        f"shop-{each.name}": _policy(each.name, "quorum_queues", _tuning(each))
        for each in topology.queues
    }
    history = topology.history
    retention: Arguments = {
        "max-age": f"{history.days}D",
        "max-length-bytes": history.max_bytes,
        "stream-max-segment-size-bytes": history.segment_bytes,
    }
    return tuning | {f"shop-{HISTORY}": _policy(HISTORY, "streams", retention)}


def _policy(queue: str, kind: str, definition: Arguments) -> dict[str, object]:
    pattern = f"^{re.escape(queue)}$"
    return {"pattern": pattern, "apply-to": kind, "priority": 10, "definition": definition}


def _tuning(queue: Queue) -> Arguments:
    return {
        "delayed-retry-type": "failed",
        "delayed-retry-min": int(queue.retry.delay * 1000),
        "delayed-retry-max": int(queue.retry.max_delay * 1000),
        "delivery-limit": queue.retry.max_retries,
        # A process ends itself at the deadline; the broker steps in only if it could not.
        "consumer-timeout": int((2 * queue.deadline + 60) * 1000),
    }
