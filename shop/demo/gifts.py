"""The demo's last guest: a consumer that was not there when it happened, and knows all of it."""

from collections.abc import Collection, Iterator
from itertools import count

from shared.events import OrderCancelled, OrderPlaced
from shared.runtime.service import Service
from shared.storage.unit_of_work import Store, UnitOfWork
from shop.demo.checks import Check


class Gifts:
    """Wraps a gift for every order, and unwraps it when the order is cancelled.

    It keeps them in memory, for as long as the demo lasts; `shop new` makes one with a table.

    Args:
        taken: names of services that there are; whoever followed the README has `gifts`.
    """

    def __init__(self, taken: Collection[str]) -> None:
        self._placed: dict[str, str] = {}
        self._cancelled: set[str] = set()
        names = (f"{'more_' * number}gifts" for number in count())
        self.service = Service(next(each for each in names if each not in taken), store=Store)
        self.service.on(OrderPlaced, self._wrap)
        self.service.on(OrderCancelled, self._unwrap)

    def _wrap(self, event: OrderPlaced, work: UnitOfWork[Store]) -> None:
        self._placed[event.order_id] = event.customer_email
        work.note(f"gift for {event.order_id} wrapped")

    def _unwrap(self, event: OrderCancelled, work: UnitOfWork[Store]) -> None:
        self._cancelled.add(event.order_id)
        work.note(f"gift for {event.order_id} unwrapped")

    def checks(self) -> Iterator[Check]:
        """What it must know, though it came last."""
        known = tuple(sorted(self._placed.keys() - self._cancelled))
        expected = "ORD-123", "ORD-124", "ORD-126"
        yield Check(self.service.name, "orders from before it joined", known, expected)
