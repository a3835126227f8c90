"""Customers by the dozen: random orders, most of them paid, some cancelled."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from services.orders.cancelling import Cancellation, cancel_order
from services.orders.order import Order, OrderRefuses
from services.orders.paying import Payment, pay_order
from services.orders.placing import NewOrder, place_order
from services.orders.service import orders
from services.orders.store import OrdersStore
from shared.storage.database import Database

PAID = 0.8
"""The share of orders that is paid."""
CANCELLED = 0.1
"""The share that is cancelled; what remains is left unpaid."""

_LONGEST_WAIT = 0.1
"""Seconds that pass at most until a request to stop is heard."""


@dataclass(slots=True)
class Tally:
    """What a simulation has done so far.

    Attributes:
        refused: payments and cancellations that came too late.
    """

    placed: int = 0
    paid: int = 0
    cancelled: int = 0
    refused: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Orders placed per second."""
        return self.placed / self.seconds if self.seconds else 0.0

    @property
    def record(self) -> dict[str, float]:
        """All of it by name, to be shown."""
        return asdict(self) | {
            "seconds": round(self.seconds, 3),
            "orders_per_second": round(self.rate, 1),
        }

    @property
    def in_words(self) -> str:
        """All of it for a person."""
        late = f", {self.refused} came too late" if self.refused else ""
        return (
            f"{self.placed} placed, {self.paid} paid, {self.cancelled} cancelled{late}, "
            f"in {self.seconds:.1f} s: {self.rate:.1f} orders per second"
        )


@dataclass(slots=True, kw_only=True)
class Simulation:
    """Places orders at a rate, each step a transaction of its own.

    Attributes:
        rate: orders per second; 0 for as fast as possible.
        seed: the same seed asks for the same; ids are drawn anew, so it may be run again.
        is_stopped: asked between orders.
    """

    database: Database
    rate: float
    seed: int
    on_placed: Callable[[], object] = lambda: None
    is_stopped: Callable[[], bool] = lambda: False
    tally: Tally = field(default_factory=Tally)

    def run(self, count: int) -> Tally:
        """Place that many orders, or fewer when it is stopped."""
        began = time.monotonic()
        mix = random.Random(self.seed)  # noqa: S311 - nobody gains by guessing it
        skus = self._skus()
        for number in range(count):
            self._wait_until(began + number / self.rate if self.rate else began)
            if self.is_stopped():
                break
            self._order(mix, skus)
            self.tally.seconds = time.monotonic() - began
            self.on_placed()
        return self.tally

    def _skus(self) -> list[str]:
        with self.database.read() as connection:
            return [each.sku for each in OrdersStore(connection, self.database).products()]

    def _wait_until(self, moment: float) -> None:
        while not self.is_stopped() and (left := moment - time.monotonic()) > 0:
            time.sleep(min(left, _LONGEST_WAIT))

    def _order(self, mix: random.Random, skus: Sequence[str]) -> None:
        new, fate = random_order(mix, skus), mix.random()
        with orders.unit_of_work(self.database) as work:
            order = place_order(new, work)
        self.tally.placed += 1
        try:
            if fate < PAID:
                self._pay(order)
            elif fate < PAID + CANCELLED:
                self._cancel(order)
        except OrderRefuses:
            self.tally.refused += 1

    def _pay(self, order: Order) -> None:
        payment = Payment(order_id=order.order_id, amount=order.total_amount)
        with orders.unit_of_work(self.database) as work:
            pay_order(payment, work)
        self.tally.paid += 1

    def _cancel(self, order: Order) -> None:
        wish = Cancellation(order_id=order.order_id, reason="changed my mind")
        with orders.unit_of_work(self.database) as work:
            cancel_order(wish, work)
        self.tally.cancelled += 1


def random_order(mix: random.Random, skus: Sequence[str]) -> NewOrder:
    """One to three pieces each of some products, by one of a hundred customers."""
    wanted = mix.sample(skus, mix.randint(1, min(3, len(skus))))
    return NewOrder(
        customer_email=f"customer-{mix.randint(1, 100)}@example.com",
        shipping_address=f"{mix.randint(1, 999)} Main St, Springfield",
        items={sku: mix.randint(1, 3) for sku in wanted},
    )
