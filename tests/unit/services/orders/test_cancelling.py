from decimal import Decimal

import pytest

from services.orders.order import OrderConflict
from services.orders.service import orders
from shared.errors import InvalidInput
from shared.events import OrderCancelled, OrderShipped
from shared.storage.database import Database
from shared.testing import Stage, recording
from tests.unit.services.orders.samples import cancel, find_order, pay, place


def test_an_unpaid_order_is_cancelled_and_nothing_is_refunded(database: Database) -> None:
    placed = place(database)

    with recording() as published:
        cancelled = cancel(database, reason="found it cheaper")

    (event,) = published
    assert isinstance(event, OrderCancelled)
    assert (event.reason, event.refunded_amount) == ("found it cheaper", Decimal("0.00"))
    assert event.correlation_id == placed.correlation_id
    assert find_order(database) == cancelled
    assert (cancelled.status, cancelled.cancelled_at) == ("cancelled", event.occurred_at)


def test_a_customer_cannot_cancel_a_paid_order(database: Database) -> None:
    place(database)
    pay(database)

    with recording() as published, pytest.raises(OrderConflict, match="is paid"):
        cancel(database)

    assert published == []
    assert find_order(database).status == "paid"


def test_a_customer_cannot_cancel_a_shipped_order(stage: Stage, database: Database) -> None:
    place(database)
    stage.publish(OrderShipped(order_id="ORD-123", tracking_number="T-1", carrier="Post"))
    stage.play()

    with pytest.raises(OrderConflict, match="is shipped"):
        cancel(database)

    assert find_order(database).status == "shipped"


def test_cancelling_twice_is_refused(database: Database) -> None:
    place(database)
    cancel(database)

    with recording() as published, pytest.raises(OrderConflict, match="already cancelled"):
        cancel(database)

    assert published == []


def test_an_unknown_order_cannot_be_cancelled(database: Database) -> None:
    with pytest.raises(InvalidInput, match="no order ORD-9"):
        cancel(database, "ORD-9")


def test_the_service_declares_its_events_and_subscriptions() -> None:
    assert OrderCancelled in orders.publishes
    assert orders.topics == {"stock.reserved", "stock.ran_short", "order.shipped"}
