"""The speed of the embedded shop: one process, durable SQLite files, no server.

First all six services, from placing each order to the last reaction to it, with mails in a Maildir;
then analytics with a backlog of events.
"""

import io
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from functools import partial

from sqlalchemy import func, select

from benchmarks.comparison import (
    Bench,
    Comparison,
    Contestant,
    MeasurementFailed,
    Role,
    rate_between,
)
from benchmarks.processes import clean_environment, json_output, wait_for
from benchmarks.result import Target
from benchmarks.sample_orders import Orders
from benchmarks.servers import Servers
from services.inventory.tables import products
from services.orders.paying import Payment, pay_order
from services.orders.placing import NewOrder, place_order
from services.orders.service import orders as orders_service
from services.orders.tables import orders
from shared.messaging.connect import broker_at
from shared.messaging.ports.consumer import Outcome
from shared.runtime.logs import log_to
from shared.runtime.process import ServiceGroup, fewer_collections
from shared.runtime.reactor import DeliveryResult
from shared.runtime.service import AnyService
from shared.runtime.settings import settings_for
from shared.runtime.setup import set_up_embedded
from shared.storage.database import Database
from shared.storage.tables import inbox
from shop import registry

ORDERS = 2_000
EVENTS = 20_000
_TIMEOUT = 300.0

ALL = Target("≥ 150/s", lambda result: result.ours.median >= 150)
ANALYTICS = Target("≥ 1,000/s", lambda result: result.ours.median >= 1_000)


def measure(bench: Bench, servers: Servers) -> None:
    """Measure both, each in a new process with an empty shop."""
    del servers
    for name, what, unit, number, target in (
        ("embedded", "all", "orders/s", bench.size(ORDERS, least=10), ALL),
        ("embedded-analytics", "analytics", "events/s", bench.size(EVENTS, least=500), ANALYTICS),
    ):
        ours = Contestant(what, Role.OURS, partial(in_a_process, what, number))
        bench.compare(Comparison(name=name, unit=unit, target=target, contestants=[ours]))


def in_a_process(what: str, number: int) -> float:
    """Measure events or orders per second in a new process with a folder of its own."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "benchmarks.embedded", what, str(number)]
        output = json_output(command, clean_environment(SHOP_HOME=home), seconds=_TIMEOUT)
        return float(output["rate"])


def main(what: str, number: int) -> None:
    """Measure in this process, with the shop in SHOP_HOME; print the rate."""
    services = registry.all_services()
    set_up_embedded(services, settings_for())
    with fewer_collections():  # as `shop up` does
        rate = all_six(services, number) if what == "all" else analytics_alone(number)
    print(json.dumps({"rate": rate}))


def all_six(services: Sequence[AnyService], number: int) -> float:
    """Measure orders per second, each placed, paid, shipped and fully handled."""
    _stock()
    left = Counter({name: each * number for name, each in _REACTIONS.items()})

    def count(service: str, reacted: DeliveryResult) -> None:
        is_new = reacted.outcome is Outcome.DONE and not reacted.duplicate
        left[service] -= is_new  # each service has one thread

    group = ServiceGroup(services, log_to(io.StringIO(), settings_for()), listeners=[count])
    began = time.monotonic()
    group.start()
    with closing(_database("orders")) as database:
        for each in range(number):
            _buy(database, f"ORD-{each}")
    try:
        done = partial(_is_none_left, left)
        wait_for(done, seconds=_TIMEOUT, what="all reactions", every=0.01)
        took = time.monotonic() - began
    finally:
        group.stop(20)
    _verify(number)
    return number / took


def _is_none_left(left: Counter[str]) -> bool:
    return max(left.values()) <= 0


def _stock() -> None:
    with closing(_database("inventory")) as database, database.begin() as connection:
        connection.execute(products.update().values(available=10_000_000))


def _buy(database: Database, order_id: str) -> None:
    """Place and pay an order in two transactions, as a customer does."""
    new = NewOrder(
        order_id=order_id,
        customer_email="customer@example.com",
        shipping_address="123 Main St, Springfield",
        items={"product-1": 2, "product-2": 1},
    )
    with orders_service.unit_of_work(database) as work:
        order = place_order(new, work)
    payment = Payment(order_id=order_id, amount=order.total_amount, payment_method="card")
    with orders_service.unit_of_work(database) as work:
        pay_order(payment, work)


_REACTIONS = {
    "orders": 2,  # reserved, shipped
    "inventory": 1,  # placed
    "email": 2,  # placed, shipped
    "shipping": 3,  # placed, paid, reserved
    "loyalty": 1,  # placed
    "analytics": 4,  # placed, paid, reserved, shipped
}
"""The number of each service's reactions to an order that is placed, paid and shipped."""


def _verify(number: int) -> None:
    """Check that each order is shipped, its three items reserved, and every event handled once."""
    with closing(_database("orders")) as database, database.read() as connection:
        shipped = connection.execute(select(func.count(orders.c.shipped_at))).scalar_one()
    with closing(_database("inventory")) as database, database.read() as connection:
        reserved = connection.execute(select(func.sum(products.c.reserved))).scalar_one()
    if (shipped, reserved) != (number, 3 * number):
        raise MeasurementFailed(f"{shipped} of {number} shipped, {reserved} items reserved")
    for name, each in _REACTIONS.items():
        with closing(_database(name)) as database:
            if (handled := _handled(database)) != each * number:
                raise MeasurementFailed(
                    f"{name} handled {handled} events instead of {each * number}"
                )


def _handled(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(inbox)).scalar_one()


def analytics_alone(number: int) -> float:
    """Measure events per second that analytics counts."""
    events = Orders(number)
    with closing(broker_at(settings_for().broker_url_of("benchmark"))) as broker:
        publisher = broker.publisher()
        for start in range(0, number, 500):
            some = range(start, min(start + 500, number))
            refused = publisher.publish(
                [events.message(each, only_to="analytics") for each in some]
            )
            if any(refused):
                raise MeasurementFailed("the broker refused some")
    analytics = registry.service("analytics")
    group = ServiceGroup([analytics], log_to(io.StringIO(), settings_for()))
    group.start()
    try:
        with closing(_database("analytics")) as database:
            wait_for(
                lambda: _handled(database) >= number,
                seconds=_TIMEOUT,
                what="all events are handled",
            )
    finally:
        group.stop(20)
    with closing(_database("analytics")) as database, database.read() as connection:
        times = connection.execute(select(inbox.c.handled_at)).scalars().all()
    return rate_between([each.timestamp() for each in times])


def _database(service: str) -> Database:
    return Database(settings_for().database_url_of(service))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
