"""Places and pays an order on a stage, and builds its timeline from the stage's databases."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import delete

from services.orders.paying import Payment, pay_order
from services.orders.placing import NewOrder, place_order
from services.orders.service import orders
from shared.errors import BrokerUnavailable, OperationFailed
from shared.messaging.ports.history import HistoryReader
from shared.messaging.topology import dead_queue
from shared.operations.history.timeline import Reaction, Timeline
from shared.operations.history.timeline_builder import TimelineBuilder
from shared.runtime.service import AnyService
from shared.storage.database import Database
from shared.storage.tables import inbox
from shared.testing import Stage


def place(stage: Stage, order_id: str = "ORD-1") -> None:
    """Place an order; its event stays in the outbox until the stage plays."""
    order = NewOrder(
        order_id=order_id,
        customer_email="jane@example.com",
        shipping_address="1 Main St",
        items={"product-1": 1},
    )
    with orders.unit_of_work(stage.databases["orders"]) as work:
        place_order(order, work)


def pay(stage: Stage) -> None:
    """Pay the order ORD-1."""
    payment = Payment(order_id="ORD-1", amount="49.99", payment_method="card")
    with orders.unit_of_work(stage.databases["orders"]) as work:
        pay_order(payment, work)


def timeline_of(
    stage: Stage, order_id: str = "ORD-1", *, unreadable: str = "", broker: bool = True
) -> Timeline:
    """Build the timeline of an order.

    Args:
        unreadable: the service whose database cannot be read.
        broker: whether the broker can be reached.
    """

    @contextmanager
    def open_database(service: AnyService) -> Iterator[Database]:
        if service.name == unreadable:
            raise OperationFailed("the secrets cannot be read here")
        yield stage.databases[service.name]

    def open_history() -> HistoryReader:
        if not broker:
            raise BrokerUnavailable("the broker cannot be reached")
        return stage.broker.history()

    def has_messages(service: AnyService) -> bool:
        open_history()
        queues = service.name, dead_queue(service.name)
        return any(stage.broker.depth(queue).ready for queue in queues)

    return TimelineBuilder(
        services=list(stage.services.values()),
        open_database=open_database,
        open_history=open_history,
        has_messages=has_messages,
    ).build(order_id)


def types(timeline: Timeline) -> list[str]:
    """The types of the timeline's events."""
    return [entry.envelope.type for entry in timeline.entries]


def reaction(timeline: Timeline, service: str) -> Reaction:
    """What a service did with the first event."""
    [found] = [each for each in timeline.entries[0].reactions if each.service == service]
    return found


def clear_inbox(stage: Stage, service: str) -> None:
    """Delete all entries of a service's inbox."""
    with stage.databases[service].begin() as connection:
        connection.execute(delete(inbox))
