"""Simulates customers: places random orders, pays most of them and cancels some."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from services.orders.cancelling import Cancellation, cancel_order
from services.orders.order import OrderConflict
from services.orders.paying import Payment, pay_order
from services.orders.placing import NewOrder, place_order
from services.orders.service import orders
from services.orders.store import OrdersStore
from shared.storage.database import Database

PAID = 0.8
"""The share of orders that is paid."""

CANCELLED = 0.1
"""The share of orders that is cancelled; the others are left unpaid."""

RARE = {"product-3": 0.02}
"""The share of orders that contain a product; every other product is in half of them or more.

A new inventory has five pieces of product-3, so most of these orders run short."""

_STOP_INTERVAL = 0.1
"""Seconds between two calls of `is_stopped` while the simulation waits."""


@dataclass(slots=True)
class SimulationResult:
    """The counts so far; `refused` are payments and cancellations that came too late."""

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
        """All fields and the rate by name, for output."""
        return asdict(self) | {
            "seconds": round(self.seconds, 3),
            "orders_per_second": round(self.rate, 1),
        }

    @property
    def summary(self) -> str:
        """The result in one line."""
        refused = f", {self.refused} refused" if self.refused else ""
        return (
            f"{self.placed} placed, {self.paid} paid, {self.cancelled} cancelled{refused}, "
            f"in {self.seconds:.1f} s: {self.rate:.1f} orders per second"
        )


@dataclass(slots=True, kw_only=True)
class Simulation:
    """Places orders at a given rate; each step is a transaction of its own.

    Attributes:
        rate: orders per second; 0 for no limit.
        seed: the same seed gives the same orders with new ids.
        on_placed: called after each order.
        is_stopped: called before each order and while waiting; the run ends when it returns True.
    """

    database: Database
    rate: float
    seed: int
    on_placed: Callable[[], object] = lambda: None
    is_stopped: Callable[[], bool] = lambda: False
    result: SimulationResult = field(default_factory=SimulationResult)

    def run(self, count: int) -> SimulationResult:
        """Place this many orders, or fewer if it is stopped."""
        started = time.monotonic()
        rng = random.Random(self.seed)  # noqa: S311 - not used for security
        with self.database.read() as connection:
            skus = [each.sku for each in OrdersStore(connection, self.database).products()]
        for number in range(count):
            self._wait_until(started + number / self.rate if self.rate else started)
            if self.is_stopped():
                break
            self._simulate_order(rng, skus)
            self.result.seconds = time.monotonic() - started
            self.on_placed()
        return self.result

    def _wait_until(self, moment: float) -> None:
        while not self.is_stopped() and (seconds := moment - time.monotonic()) > 0:
            time.sleep(min(seconds, _STOP_INTERVAL))

    def _simulate_order(self, rng: random.Random, skus: Sequence[str]) -> None:
        request, share = random_order(rng, skus), rng.random()
        with orders.unit_of_work(self.database) as work:
            order = place_order(request, work)
        self.result.placed += 1
        try:
            if share < PAID:
                payment = Payment(order_id=order.order_id, amount=order.total_amount)
                with orders.unit_of_work(self.database) as work:
                    pay_order(payment, work)
                self.result.paid += 1
            elif share < PAID + CANCELLED:
                cancellation = Cancellation(order_id=order.order_id, reason="changed my mind")
                with orders.unit_of_work(self.database) as work:
                    cancel_order(cancellation, work)
                self.result.cancelled += 1
        except OrderConflict:
            self.result.refused += 1


def random_order(rng: random.Random, skus: Sequence[str]) -> NewOrder:
    """One to three pieces of up to three products, for one of a hundred customers."""
    usual = [sku for sku in skus if sku not in RARE]
    ordered = rng.sample(usual, rng.randint(1, min(2, len(usual))))
    ordered += [sku for sku in skus if rng.random() < RARE.get(sku, 0)]
    return NewOrder(
        customer_email=f"customer-{rng.randint(1, 100)}@example.com",
        shipping_address=f"{rng.randint(1, 999)} Main St, Springfield",
        items={sku: rng.randint(1, 3) for sku in ordered},
    )
