"""Cancelling an order: a person's wish while it is unpaid, or for want of stock."""

from dataclasses import replace
from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from services.orders.order import Order, OrderRefuses
from services.orders.paying import wanted
from services.orders.store import OrdersStore
from shared.events import OrderCancelled
from shared.events.fields import OrderId, Reason
from shared.storage.unit_of_work import UnitOfWork


class Cancellation(BaseModel):
    """Which order a person no longer wants, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    order_id: OrderId
    reason: Reason


def cancel_order(wish: Cancellation, work: UnitOfWork[OrdersStore]) -> Order:
    """Cancel an order because a person says so.

    Raises:
        InvalidInput: there is no such order.
        OrderRefuses: it is cancelled already, or paid, or shipped.
    """
    order = wanted(wish.order_id, work.store)
    if order.cancelled_at:
        raise OrderRefuses(f"{order.order_id} is cancelled already")
    if order.paid_at or order.shipped_at:
        state = "shipped" if order.shipped_at else "paid"
        raise OrderRefuses(f"{order.order_id} is {state}, so it can no longer be cancelled")
    return cancel(order, wish.reason, work)


def cancel(order: Order, reason: str, work: UnitOfWork[OrdersStore]) -> Order:
    """Cancel a locked order, and give back what was paid for it."""
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
