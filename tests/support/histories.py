"""What can happen to an order, and the ways in which a service may hear of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st

from shared.events import (
    DomainEvent,
    OrderCancelled,
    OrderEvent,
    OrderPlaced,
    OrderShipped,
    PaymentReceived,
    StockRanShort,
    StockReserved,
    uuid7,
)
from shared.testing import Stage, recording

HISTORIES = (
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

CUSTOMER = "jane@example.com"
ADDRESS = "123 Main St, Springfield"


def a_new_order() -> str:
    return f"ORD-{uuid4()}"


def placed(order_id: str = "ORD-1", **changes: Any) -> OrderPlaced:
    content = {
        "customer_email": CUSTOMER,
        "items": {"product-1": 2, "product-2": 1},
        "shipping_address": ADDRESS,
        "total_amount": Decimal("99.99"),
        "currency": "EUR",
    }
    return OrderPlaced(order_id=order_id, **(content | changes))


def paid(order_id: str = "ORD-1") -> PaymentReceived:
    return PaymentReceived(order_id=order_id, amount=Decimal("99.99"), payment_method="card")


def reserved(order_id: str = "ORD-1") -> StockReserved:
    return StockReserved(order_id=order_id, items={"product-1": 2, "product-2": 1})


def short(order_id: str = "ORD-1") -> StockRanShort:
    return StockRanShort(order_id=order_id, missing={"product-1": 2})


def shipped(order_id: str = "ORD-1") -> OrderShipped:
    return OrderShipped(order_id=order_id, tracking_number="T-1", carrier="Post")


def cancelled(order_id: str = "ORD-1") -> OrderCancelled:
    return OrderCancelled(order_id=order_id, reason="too late", refunded_amount=Decimal(0))


FACTS = {each.__name__: each for each in (paid, reserved, short, shipped, cancelled)}


@dataclass(frozen=True)
class Arrival:
    """How one order's history arrives.

    Attributes:
        kinds: in the order of arrival, some of them more than once.
        anew: the repeated ones have new ids, so that no inbox knows them.
        concurrency: in one batch, not one by one.
    """

    kinds: tuple[str, ...]
    anew: bool
    concurrency: bool

    def is_first(self, kind: str, other: str) -> bool:
        """Whether the one arrives, and before the other."""
        return kind in self.kinds and self.kinds.index(kind) < self.kinds.index(other)

    def facts(self, order_id: str, **content: Any) -> dict[str, OrderEvent]:
        """The events by their kind; `content` is that of the placed order."""
        made: dict[str, OrderEvent] = {
            kind: FACTS[kind](order_id) for kind in set(self.kinds) - {"placed"}
        }
        return made | {"placed": placed(order_id, **content)}

    def play(self, stage: Stage, facts: Mapping[str, OrderEvent]) -> list[Any]:
        """Let them arrive; answers what was published thereupon."""
        events: list[DomainEvent] = []
        for kind in self.kinds:
            event = facts[kind]
            known = self.anew and event in events
            events.append(event.model_copy(update={"event_id": uuid7()}) if known else event)
        return play(stage, events, concurrency=self.concurrency)


def arrivals() -> st.SearchStrategy[Arrival]:
    """Any history, in any order, with any repetition."""

    def some(history: Sequence[str]) -> st.SearchStrategy[Arrival]:
        repeated = st.lists(st.sampled_from(history), max_size=3)
        kinds = repeated.flatmap(lambda more: st.permutations([*history, *more])).map(tuple)
        return st.builds(Arrival, kinds=kinds, anew=st.booleans(), concurrency=st.booleans())

    return st.sampled_from(HISTORIES).flatmap(some)


def play(stage: Stage, events: Sequence[DomainEvent], *, concurrency: bool) -> list[Any]:
    """Let a service hear of events; answers what it published thereupon."""
    with recording() as published:
        for batch in [events] if concurrency else [[event] for event in events]:
            stage.publish(*batch)
            stage.play()
    return published
