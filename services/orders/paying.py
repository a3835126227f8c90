"""Paying an order: once, its whole total, and only if it is not cancelled."""

from dataclasses import replace

from pydantic import BaseModel, ConfigDict

from services.orders.order import Order, OrderConflict
from services.orders.store import OrdersStore
from shared.errors import InvalidInput
from shared.events import PaymentReceived
from shared.events.fields import Money, OrderId, Word
from shared.runtime.hints import command
from shared.storage.unit_of_work import UnitOfWork


class Payment(BaseModel):
    """A payment for one order."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    order_id: OrderId
    amount: Money
    payment_method: Word = "card"


def pay_order(payment: Payment, work: UnitOfWork[OrdersStore]) -> Order:
    """Record the payment of an order and publish PaymentReceived.

    Raises:
        InvalidInput: the order does not exist, or the amount is not its total.
        OrderConflict: the order is already cancelled or paid.
    """
    order = lock_order(payment.order_id, work.store)
    if order.cancelled_at:
        raise OrderConflict(f"{order.order_id} is cancelled, so it cannot be paid")
    if order.paid_at:
        raise OrderConflict(f"{order.order_id} is already paid")
    if payment.amount != order.total_amount:
        total = f"{order.total_amount} {order.currency}"
        raise InvalidInput(f"{order.order_id} costs {total}: pay exactly that amount")
    event = PaymentReceived(
        order_id=order.order_id, amount=payment.amount, payment_method=payment.payment_method
    )
    work.publish(event, correlation_id=order.correlation_id)
    paid = replace(order, paid_at=event.occurred_at, payment_method=event.payment_method)
    work.store.save(paid)
    return paid


def lock_order(order_id: str, store: OrdersStore) -> Order:
    """Lock an order until the unit of work ends; raises InvalidInput if it does not exist."""
    order = store.locked(order_id)
    if order is None:
        raise unknown_order(order_id)
    return order


def unknown_order(order_id: str) -> InvalidInput:
    """The error for an order that does not exist."""
    return InvalidInput(
        f"there is no order {order_id}: {command('orders', 'list')} shows the latest orders"
    )
