"""The service that the demo adds at the end; it handles all past events."""

from collections.abc import Collection, Iterator
from itertools import count

from shared.events import OrderCancelled, OrderPlaced
from shared.runtime.service import Service
from shared.storage.unit_of_work import Store, UnitOfWork
from shop.demo.checks import Check


class GiftService:
    """Wraps a gift for every order and unwraps it when the order is cancelled.

    Its state is in memory only.

    Args:
        used_names: names of the other services; `gifts` may be one, since the README creates it.
    """

    def __init__(self, used_names: Collection[str]) -> None:
        self._placed: set[str] = set()
        self._cancelled: set[str] = set()
        names = (f"{'more_' * number}gifts" for number in count())
        self.service = Service(next(name for name in names if name not in used_names), store=Store)
        self.service.on(OrderPlaced, self._wrap_gift)
        self.service.on(OrderCancelled, self._unwrap_gift)

    def checks(self) -> Iterator[Check]:
        """Check which orders have a gift at the end."""
        orders = tuple(sorted(self._placed - self._cancelled))
        expected = ("ORD-123", "ORD-124", "ORD-126")
        yield Check(self.service.name, "orders with a gift", orders, expected)

    def _wrap_gift(self, event: OrderPlaced, work: UnitOfWork[Store]) -> None:
        self._placed.add(event.order_id)
        work.note(f"gift for {event.order_id} wrapped")

    def _unwrap_gift(self, event: OrderCancelled, work: UnitOfWork[Store]) -> None:
        self._cancelled.add(event.order_id)
        work.note(f"gift for {event.order_id} unwrapped")
