"""Cancelling an order: by the customer while it is unpaid, or because stock ran short."""

from dataclasses import replace
from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from services.orders.order import Order, OrderConflict
from services.orders.paying import lock_order
from services.orders.store import OrdersStore
from shared.events import OrderCancelled
from shared.events.fields import OrderId, Reason
from shared.storage.unit_of_work import UnitOfWork


class Cancellation(BaseModel):
    """A customer's request to cancel an order."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    order_id: OrderId
    reason: Reason


def cancel_order(request: Cancellation, work: UnitOfWork[OrdersStore]) -> Order:
    """Cancel an order at the customer's request and publish OrderCancelled.

    Raises:
        InvalidInput: the order does not exist.
        OrderConflict: the order is already cancelled, paid or shipped.
    """
    order = lock_order(request.order_id, work.store)
    if order.cancelled_at:
        raise OrderConflict(f"{order.order_id} is already cancelled")
    if order.paid_at or order.shipped_at:
        state = "shipped" if order.shipped_at else "paid"
        raise OrderConflict(f"{order.order_id} is {state}, so it cannot be cancelled")
    return cancel(order, request.reason, work)


def cancel(order: Order, reason: str, work: UnitOfWork[OrdersStore]) -> Order:
    """Cancel a locked order, refund what was paid, and publish OrderCancelled."""
    event = OrderCancelled(
        order_id=order.order_id,
        reason=reason,
        refunded_amount=order.total_amount if order.paid_at else Decimal(0),
    )
    work.publish(event, correlation_id=order.correlation_id)
    cancelled = replace(
        order,
        cancelled_at=event.occurred_at,
        cancel_reason=event.reason,
        refunded_amount=event.refunded_amount,
    )
    work.store.save(cancelled)
    return cancelled
