"""The exchanges, queues and bindings of the system as data, derived from its services."""

from collections.abc import Iterable
from dataclasses import dataclass, field

EVENTS = "events"
REPLAYS = "replays"
DEAD_LETTERS = "dead-letters"
HISTORY = "history"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How a queue delays failed messages.

    Attributes:
        delay: seconds after the first failure; after the nth, n times as long.
        max_delay: upper limit of the delay, in seconds.
        max_retries: attempts after the first; when all have failed, the message is dead.
    """

    delay: float = 1.0
    max_delay: float = 60.0
    max_retries: int = 20

    def delay_after(self, failures: int) -> float:
        """Delay in seconds after a number of failures."""
        return min(self.delay * failures, self.max_delay)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A service's queue; its dead queue is `NAME.dead`.

    Attributes:
        name: the service's name.
        topics: binding keys; `*` matches one word, `#` any number of words.
        publishes: routing keys that the service may publish.
        deadline: seconds that a handler may take.
    """

    name: str
    topics: frozenset[str]
    publishes: frozenset[str] = frozenset()
    retry: Retry = field(default_factory=Retry)
    deadline: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The retention of the history.

    Attributes:
        days: maximum age of a record.
        max_bytes: maximum size of all records; RabbitMQ drops the oldest beyond it.
        segment_bytes: RabbitMQ drops whole segments of this size.
    """

    days: int = 30
    max_bytes: int = 5_000_000_000
    segment_bytes: int = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Everything that is set up on the broker.

    Attributes:
        has_users: whether each service has a user of its name at the broker; False where all
            services share one.
    """

    queues: tuple[Queue, ...]
    has_users: bool = False
    history: History = field(default_factory=History)


def dead_queue(name: str) -> str:
    """The name of the dead queue of a service."""
    return f"{name}.dead"


def surplus_topics(
    topology: Topology, bound: Iterable[tuple[str, str]]
) -> dict[str, frozenset[str]]:
    """The topics that the topology's queues are bound to and that it does not name, by queue.

    Args:
        bound: pairs of a queue and a topic.
    """
    named = {queue.name: queue.topics for queue in topology.queues}
    surplus: dict[str, frozenset[str]] = {}
    for queue, topic in bound:
        if queue in named and topic not in named[queue]:
            surplus[queue] = surplus.get(queue, frozenset()) | {topic}
    return surplus


def topics_matched(patterns: Iterable[str], topic: str) -> bool:
    """Whether any of the binding keys matches a routing key.

    Source: https://www.rabbitmq.com/tutorials/tutorial-five-python#topic-exchange
    """
    words = topic.split(".")
    return any(_matches(pattern.split("."), words) for pattern in patterns)


def _matches(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_matches(pattern[1:], words[skipped:]) for skipped in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _matches(pattern[1:], words[1:])
