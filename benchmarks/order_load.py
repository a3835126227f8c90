"""`python -m benchmarks.order_load RATE SECONDS`: places and pays RATE orders per second.

Each order takes two transactions through the orders service's functions. Orders are placed at
fixed times, so a slow shop does not get fewer.
"""

import itertools
import json
import random
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from services.orders.paying import Payment, pay_order
from services.orders.placing import place_order
from services.orders.service import orders
from services.orders.simulating import random_order
from services.orders.store import OrdersStore
from shared.runtime.settings import settings_for
from shared.storage.database import Database

AT_ONCE = 5
"""Concurrent customers, as many as the database's pool has connections."""


def main(rate: float, seconds: float) -> None:
    """Place the orders; print how many, and the longest delay of one."""
    with closing(Database(settings_for().database_url_of("orders"))) as database:
        with database.read() as connection:
            skus = [each.sku for each in OrdersStore(connection, database).products()]
        load = _LoadGenerator(database, skus, rate=rate, number=round(rate * seconds))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for done in [pool.submit(load.buy) for _ in range(AT_ONCE)]:
                done.result()
    print(json.dumps({"number": load.number, "late": round(load.late, 3)}))


class _LoadGenerator:
    def __init__(
        self, database: Database, skus: Sequence[str], *, rate: float, number: int
    ) -> None:
        self.number = number
        self.late = 0.0
        self._database = database
        self._skus = skus
        self._rate = rate
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def buy(self) -> None:
        """Place and pay orders at their times until all are placed."""
        while True:
            with self._lock:
                number = next(self._numbers)
            if number >= self.number:
                return
            due_at = self._began + number / self._rate
            time.sleep(max(0.0, due_at - time.monotonic()))
            self.late = max(self.late, time.monotonic() - due_at)
            self._order(number)

    def _order(self, number: int) -> None:
        new = random_order(random.Random(number), self._skus)  # noqa: S311 - the same in every run
        with orders.unit_of_work(self._database) as work:
            order = place_order(new, work)
        payment = Payment(order_id=order.order_id, amount=order.total_amount)
        with orders.unit_of_work(self._database) as work:
            pay_order(payment, work)


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]))
