"""The exchanges, queues and bindings of the system, as data derived from its services."""

from collections.abc import Iterable
from dataclasses import dataclass, field

EVENTS = "events"
REPLAYS = "replays"
DEAD_LETTERS = "dead-letters"
HISTORY = "history"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How a queue holds back what failed.

    Attributes:
        delay: seconds; the nth failure waits n times as long.
        max_delay: seconds that it waits at most.
        max_retries: attempts after the first; then the message is dead.
    """

    delay: float = 1.0
    max_delay: float = 60.0
    max_retries: int = 20

    def delay_after(self, failures: int) -> float:
        """Seconds to wait after that many failures."""
        return min(self.delay * failures, self.max_delay)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A service's queue, and beside it `NAME.dead`.

    Attributes:
        name: the service's.
        topics: binding keys; `*` is one word, `#` any number of them.
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
    """How long the record of all events is kept.

    Attributes:
        days: age of what is dropped.
        max_bytes: size past which the oldest is dropped.
        segment_bytes: it is dropped a segment at a time.
    """

    days: int = 30
    max_bytes: int = 5_000_000_000
    segment_bytes: int = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """All that the broker has to hold."""

    queues: tuple[Queue, ...]
    history: History = field(default_factory=History)


def dead_queue(name: str) -> str:
    """The name of a service's dead queue."""
    return f"{name}.dead"


def matches(pattern: str, topic: str) -> bool:
    """Whether a binding key lets a routing key through.

    Source: https://www.rabbitmq.com/tutorials/tutorial-five-python#topic-exchange
    """
    return _matches(pattern.split("."), topic.split("."))


def _matches(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_matches(pattern[1:], words[skipped:]) for skipped in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _matches(pattern[1:], words[1:])


def topics_matched(patterns: Iterable[str], topic: str) -> bool:
    """Whether any of the binding keys lets a routing key through."""
    return any(matches(pattern, topic) for pattern in patterns)
