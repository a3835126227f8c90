"""Orders and events for the tests of the order service."""

from collections.abc import Sequence

from services.orders.cancelling import Cancellation, cancel_order
from services.orders.order import Order
from services.orders.paying import Payment, pay_order
from services.orders.placing import NewOrder, place_order
from services.orders.service import orders
from shared.events import DomainEvent, OrderShipped, StockRanShort, StockReserved
from shared.runtime.reactor import DeliveryResult, Reactor
from shared.storage.database import Database
from tests.support.deliveries import delivery_of

CONTENT = {
    "order_id": "ORD-123",
    "customer_email": "customer@example.com",
    "shipping_address": "123 Main St, Springfield",
    "items": {"product-1": 2, "product-2": 1},
}


def new_order(**changes: object) -> NewOrder:
    return NewOrder.model_validate(CONTENT | changes)


def place(database: Database, **changes: object) -> Order:
    with orders.unit_of_work(database) as work:
        return place_order(new_order(**changes), work)


def pay(database: Database, order_id: str = "ORD-123", amount: object = "99.99") -> Order:
    payment = Payment.model_validate({"order_id": order_id, "amount": amount})
    with orders.unit_of_work(database) as work:
        return pay_order(payment, work)


def cancel(database: Database, order_id: str = "ORD-123", reason: str = "too late") -> Order:
    with orders.unit_of_work(database) as work:
        return cancel_order(Cancellation(order_id=order_id, reason=reason), work)


def find_order(database: Database, order_id: str = "ORD-123") -> Order:
    with database.read() as connection:
        order = orders.store(connection, database).find(order_id)
    assert order is not None
    return order


def react_in_one_batch(database: Database, events: Sequence[DomainEvent]) -> list[DeliveryResult]:
    """Handle all events in one batch, as under heavy load; a Stage handles one at a time."""
    deliveries = [
        delivery_of(event, queue="orders", token=number) for number, event in enumerate(events)
    ]
    reactor = Reactor(service=orders, database=database, retry=orders.retry)
    return reactor.react(deliveries).results


def shipments_and_shortages(number_of_orders: int) -> list[DomainEvent]:
    """Two events about each of `ORD-0`, `ORD-1`, …: every fifth runs short, the others ship."""
    events: list[DomainEvent] = []
    for number in range(number_of_orders):
        order_id = f"ORD-{number}"
        if number % 5:
            events += [
                OrderShipped(order_id=order_id, tracking_number="T", carrier="Post"),
                StockReserved(order_id=order_id, items={"product-1": 2}),
            ]
        else:
            events += [StockRanShort(order_id=order_id, missing={"product-1": 2})] * 2
    return events
