"""The services as the demo runs them: in one process, on temporary files."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, TextIO

from services.orders.paying import Payment, pay_order
from services.orders.placing import NewOrder, place_order
from services.orders.service import orders
from shared.errors import OperationFailed
from shared.messaging.connect import broker_at
from shared.messaging.topology import dead_queue, topics_matched
from shared.runtime.logs import log_to
from shared.runtime.process import ServiceGroup
from shared.runtime.runner import Listener
from shared.runtime.service import AnyService
from shared.runtime.settings import settings_for
from shared.runtime.setup import set_up_embedded
from shared.storage.database import Database
from shared.storage.tables import inbox, outbox
from shop import registry
from shop.demo.mailer import DemoMailer

ADDRESS = "123 Main St, Springfield"

TIMEOUT = 20.0
"""Seconds to wait until all events are handled, and until the services stop."""


class DemoSystem:
    """All services, their databases and the embedded broker.

    Args:
        log: gets the services' logs.
        listener: called with each result.
    """

    def __init__(self, log: TextIO, listener: Listener) -> None:
        settings = settings_for()
        self.mailer = DemoMailer.from_settings(settings)
        self._log = log_to(log, settings)
        self._listener = listener
        self._broker = broker_at(settings.broker_url_of("demo"))
        self._services: dict[str, AnyService] = {}
        self._databases: dict[str, Database] = {}
        self._groups: list[ServiceGroup] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run all services during the block."""
        try:
            self.start(*registry.all_services())
            yield
        finally:
            for group in self._groups:
                group.stop(TIMEOUT)
            self._broker.close()
            for database in self._databases.values():
                database.close()

    def start(self, *services: AnyService, from_history: bool = False) -> None:
        """Set up and start more services; `from_history` makes them handle all past events."""
        settings = settings_for()
        self._services |= {service.name: service for service in services}
        set_up_embedded(list(self._services.values()), settings)
        for service in services:
            self._databases[service.name] = Database(settings.database_url_of(service.name))
        group = ServiceGroup(
            services,
            self._log,
            listeners=[self._listener],
            gateway={"email": self.mailer},
            from_history=from_history,
        )
        self._groups.append(group)
        group.start()

    def place(self, order_id: str, customer: str, items: Mapping[str, int]) -> None:
        """Place an order, and wait until all events are handled."""
        request = NewOrder(
            order_id=order_id, customer_email=customer, shipping_address=ADDRESS, items=items
        )
        with orders.unit_of_work(self._databases["orders"]) as work:
            place_order(request, work)
        self.wait_until_idle()

    def pay(self, order_id: str, amount: str) -> None:
        """Pay an order, and wait until all events are handled."""
        payment = Payment(order_id=order_id, amount=Decimal(amount))
        with orders.unit_of_work(self._databases["orders"]) as work:
            pay_order(payment, work)
        self.wait_until_idle()

    def query(self, service: str, function: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - any result
        """Call a function with a service's store and return its result."""
        database = self._databases[service]
        with database.read() as connection:
            return function(self._services[service].store(connection, database))

    def wait_until_idle(self) -> None:
        """Wait until every event is sent, and is handled or dead in every subscribed service."""
        deadline = time.monotonic() + TIMEOUT
        while not self._is_idle():
            if time.monotonic() > deadline:
                raise OperationFailed(f"some events were not handled within {TIMEOUT:.0f} s")
            time.sleep(0.01)

    def _is_idle(self) -> bool:
        published = self._published()
        if not all(row.sent_at for row in published):
            return False
        for name, database in self._databases.items():
            with database.read() as connection:
                handled = {row.event_id for row in connection.execute(inbox.select())}
            topics = self._services[name].topics
            subscribed = {row.event_id for row in published if topics_matched(topics, row.topic)}
            unhandled = len(subscribed - handled)
            if unhandled and unhandled != self._broker.depth(dead_queue(name)).ready:
                return False
        # A handler may have published an event since; if none has, none can any more.
        return len(self._published()) == len(published)

    def _published(self) -> list[Any]:
        rows: list[Any] = []
        for database in self._databases.values():
            with database.read() as connection:
                rows += connection.execute(outbox.select())
        return rows
