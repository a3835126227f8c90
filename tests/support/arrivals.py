"""Every way in which the events of one order may arrive at a service, as a Hypothesis strategy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from shared.events import DomainEvent, OrderEvent, uuid7
from shared.testing import Stage, recording
from tests.support.order_events import cancelled, paid, placed, reserved, shipped, short

COURSES = (
    ("placed",),
    ("placed", "reserved"),
    ("placed", "paid"),
    ("placed", "reserved", "paid"),
    ("placed", "reserved", "paid", "shipped"),
    ("placed", "cancelled"),
    ("placed", "reserved", "cancelled"),
    ("placed", "short", "cancelled"),
    ("placed", "paid", "short", "cancelled"),
)
"""The events that an order can have, in the order of publication."""

AFTER_PLACED = {make.__name__: make for make in (paid, reserved, short, shipped, cancelled)}


@dataclass(frozen=True)
class Arrival:
    """How the events of one order arrive.

    Attributes:
        kinds: in the order of arrival; some occur more than once.
        with_new_ids: a repeated event has a new id, so that no inbox knows it.
        as_batch: they arrive in one batch, not one by one.
    """

    kinds: tuple[str, ...]
    with_new_ids: bool
    as_batch: bool

    def is_first(self, kind: str, other: str) -> bool:
        """Whether an event of one kind arrives before all of the other kind."""
        return kind in self.kinds and self.kinds.index(kind) < self.kinds.index(other)

    def facts(self, order_id: str, **content: Any) -> dict[str, OrderEvent]:
        """Return the events by kind; `content` is that of the placed order."""
        events: dict[str, OrderEvent] = {
            kind: AFTER_PLACED[kind](order_id) for kind in set(self.kinds) - {"placed"}
        }
        return events | {"placed": placed(order_id, **content)}

    def play(self, stage: Stage, facts: Mapping[str, OrderEvent]) -> list[Any]:
        """Let the events arrive; return what the service published."""
        events: list[DomainEvent] = []
        for kind in self.kinds:
            event = facts[kind]
            if self.with_new_ids and event in events:
                event = event.model_copy(update={"event_id": uuid7()})
            events.append(event)
        return play(stage, events, as_batch=self.as_batch)


def arrivals() -> st.SearchStrategy[Arrival]:
    """Any course of an order, in any order of arrival, with any repetition."""

    def arrivals_of(course: Sequence[str]) -> st.SearchStrategy[Arrival]:
        repeated = st.lists(st.sampled_from(course), max_size=3)
        kinds = repeated.flatmap(lambda more: st.permutations([*course, *more])).map(tuple)
        return st.builds(Arrival, kinds=kinds, with_new_ids=st.booleans(), as_batch=st.booleans())

    return st.sampled_from(COURSES).flatmap(arrivals_of)


def play(stage: Stage, events: Sequence[DomainEvent], *, as_batch: bool) -> list[Any]:
    """Let a service handle events; return what it published."""
    with recording() as published:
        for batch in [events] if as_batch else [[event] for event in events]:
            stage.publish(*batch)
            stage.play()
    return published
