"""An order's story as the services on a stage tell it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import delete

from services.orders.paying import Payment, pay_order
from services.orders.placing import NewOrder, place_order
from services.orders.service import orders
from shared.errors import BrokerUnavailable, OperationFailed
from shared.messaging.ports.history import HistoryReader
from shared.messaging.topology import dead_queue
from shared.operations.history.timeline import Timeline
from shared.operations.history.timeline_builder import TimelineBuilder
from shared.runtime.service import AnyService
from shared.storage.database import Database
from shared.storage.tables import inbox
from shared.testing import Stage


def place(stage: Stage, order: str = "ORD-1") -> None:
    new = NewOrder(
        order_id=order,
        customer_email="jane@example.com",
        shipping_address="1 Main St",
        items={"product-1": 1},
    )
    with orders.unit_of_work(stage.databases["orders"]) as work:
        place_order(new, work)


def pay(stage: Stage) -> None:
    payment = Payment(order_id="ORD-1", amount="49.99", payment_method="card")
    with orders.unit_of_work(stage.databases["orders"]) as work:
        pay_order(payment, work)


def story(stage: Stage, order: str = "ORD-1", *, closed: str = "", broker: bool = True) -> Timeline:
    """The story of an order; of one service the database may be closed to us."""

    @contextmanager
    def opening(service: AnyService) -> Iterator[Database]:
        if service.name == closed:
            raise OperationFailed("the secrets cannot be read here")
        yield stage.databases[service.name]

    def history() -> HistoryReader:
        if not broker:
            raise BrokerUnavailable("the broker cannot be reached")
        return stage.broker.history()

    def holding(service: AnyService) -> bool:
        if not broker:
            raise BrokerUnavailable("the broker cannot be reached")
        queues = service.name, dead_queue(service.name)
        return any(stage.broker.depth(each).ready for each in queues)

    opens: Any = opening
    teller = TimelineBuilder(
        services=list(stage.services.values()), opening=opens, history=history, holding=holding
    )
    return teller.build(order)


def types(told: Timeline) -> list[str]:
    return [each.envelope.type for each in told.entries]


def outcome(told: Timeline, service: str) -> Any:
    [found] = [each for each in told.entries[0].reactions if each.service == service]
    return found


def forget(stage: Stage, service: str) -> None:
    """Let a service's inbox forget everything."""
    with stage.databases[service].begin() as connection:
        connection.execute(delete(inbox))
