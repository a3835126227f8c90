"""Simulated customers: a steady stream of orders, most of them paid, some cancelled.

A program of its own. It retries after database errors, and records the id of each order whose
placing was confirmed.
"""

import argparse
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TypeVar

from services.orders.cancelling import Cancellation, cancel_order
from services.orders.order import OrderConflict
from services.orders.paying import Payment, pay_order
from services.orders.placing import NewOrder, place_order
from services.orders.service import orders
from services.orders.simulating import CANCELLED, PAID, random_order
from services.orders.store import OrdersStore
from shared.runtime.settings import settings_for
from shared.storage.database import DATABASE_ERRORS, Database
from shared.storage.unit_of_work import UnitOfWork

T = TypeVar("T")

SKUS = ("product-1", "product-2", "product-3")


class Customers:
    """Places orders until `stopping` is set."""

    def __init__(self, confirmed: Path, seed: int) -> None:
        self._database = Database(settings_for("orders").database_url_of("orders"), app="customers")
        self._mix = Random(seed)  # noqa: S311 - not a secret
        self._confirmed = confirmed
        self.stopping = threading.Event()

    def run(self, rate: float) -> None:
        """Place orders at this rate per second."""
        began = time.monotonic()
        number = 0
        while not self.stopping.wait(max(0.0, began + number / rate - time.monotonic())):
            number += 1
            self._order(random_order(self._mix, SKUS), self._mix.random())
        self._database.close()

    def _order(self, new: NewOrder, fate: float) -> None:
        order = self._retry(lambda work: place_order(new, work))
        if order is None:
            return
        with self._confirmed.open("a") as confirmed:
            confirmed.write(f"{new.order_id}\n")
        if fate < PAID:
            payment = Payment(order_id=new.order_id, amount=order.total_amount)
            self._retry(lambda work: pay_order(payment, work))
        elif fate < PAID + CANCELLED:
            wish = Cancellation(order_id=new.order_id, reason="changed my mind")
            self._retry(lambda work: cancel_order(wish, work))

    def _retry(self, wish: Callable[[UnitOfWork[OrdersStore]], T]) -> T | None:
        """Try again until it succeeds, the order refuses, or `stopping` is set."""
        while not self.stopping.is_set():
            try:
                with orders.unit_of_work(self._database) as work:
                    return_value = wish(work)
            except OrderConflict:
                return None
            except DATABASE_ERRORS:
                self.stopping.wait(0.2)
            else:
                return return_value
        return None


def main() -> None:
    """Order until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("confirmed", type=Path)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args()
    customers = Customers(arguments.confirmed, arguments.seed)
    signal.signal(signal.SIGTERM, lambda *_: customers.stopping.set())
    customers.run(arguments.rate)


if __name__ == "__main__":
    main()
