"""The running services: a test places and pays orders, and reads each service's database."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import select

from services.orders.order import Order
from services.orders.paying import Payment, pay_order
from services.orders.placing import NewOrder, place_order
from services.orders.service import orders
from shared.runtime.logs import log_to
from shared.runtime.process import ServiceGroup
from shared.runtime.service import AnyService
from shared.runtime.settings import settings_for
from shared.runtime.setup import set_up
from shared.storage.database import Database
from shared.storage.tables import failures, inbox

CUSTOMER = "customer@example.com"
ADDRESS = "123 Main St, Springfield"


class RunningShop:
    """Running services and their databases."""

    def __init__(self, services: Mapping[str, AnyService]) -> None:
        self._services = services
        self._databases = {
            name: Database(settings_for(name).database_url_of(name)) for name in services
        }

    def place(self, order_id: str, items: Mapping[str, int] | None = None) -> Order:
        request = NewOrder(
            order_id=order_id,
            customer_email=CUSTOMER,
            shipping_address=ADDRESS,
            items=items or {"product-1": 1},
        )
        with orders.unit_of_work(self._databases["orders"]) as work:
            return place_order(request, work)

    def pay(self, order_id: str, amount: str) -> None:
        payment = Payment(order_id=order_id, amount=Decimal(amount), payment_method="card")
        with orders.unit_of_work(self._databases["orders"]) as work:
            pay_order(payment, work)

    def query(self, service: str, function: Callable[[Any], Any]) -> Any:
        """Call a function with a service's store and return its result."""
        database = self._databases[service]
        with database.read() as connection:
            return function(self._services[service].store(connection, database))

    def handled(self, service: str) -> list[str]:
        """The types of the events that a service has handled."""
        with self._databases[service].read() as connection:
            return sorted(connection.execute(select(inbox.c.event_type)).scalars())

    def failed(self, service: str) -> list[str]:
        """The errors of a service's failed attempts."""
        with self._databases[service].read() as connection:
            return list(connection.execute(select(failures.c.error)).scalars())

    def close(self) -> None:
        for database in self._databases.values():
            database.close()


@contextmanager
def run_services(services: list[AnyService], log: Path) -> Iterator[RunningShop]:
    """Set up these services and run them in this process during the block."""
    for _ in set_up(services):
        pass
    shop = RunningShop({service.name: service for service in services})
    with log.open("a") as stream:
        group = ServiceGroup(services, log_to(stream, settings_for()))
        group.start()
        try:
            yield shop
        finally:
            assert group.stop(20)
            shop.close()
