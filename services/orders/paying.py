"""Paying an order: once, its whole total, and never when it is cancelled."""

from dataclasses import replace

from pydantic import BaseModel, ConfigDict

from services.orders.order import Order, OrderRefuses
from services.orders.store import OrdersStore
from shared.errors import InvalidInput
from shared.events import PaymentReceived
from shared.events.fields import Money, OrderId, Word
from shared.storage.unit_of_work import UnitOfWork


class Payment(BaseModel):
    """What somebody pays, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    order_id: OrderId
    amount: Money
    payment_method: Word = "card"


def pay_order(payment: Payment, work: UnitOfWork[OrdersStore]) -> Order:
    """Take the payment of an order.

    Raises:
        InvalidInput: there is no such order, or it costs another amount.
        OrderRefuses: it is cancelled, or paid already.
    """
    order = wanted(payment.order_id, work.store)
    if order.cancelled_at:
        raise OrderRefuses(f"{order.order_id} is cancelled, so it cannot be paid")
    if order.paid_at:
        raise OrderRefuses(f"{order.order_id} is paid already")
    if payment.amount != order.total_amount:
        total = f"{order.total_amount} {order.currency}"
        raise InvalidInput(f"{order.order_id} costs {total}: pay that amount, not another")
    event = PaymentReceived(
        order_id=order.order_id, amount=payment.amount, payment_method=payment.payment_method
    )
    work.publish(event, correlation_id=order.correlation_id)
    paid = replace(order, paid_at=event.occurred_at, payment_method=event.payment_method)
    work.store.save(paid)
    return paid


def wanted(order_id: str, store: OrdersStore) -> Order:
    """The order that a person speaks of, under a lock.

    Raises:
        InvalidInput: there is none.
    """
    order = store.locked(order_id)
    if order is None:
        raise no_such_order(order_id)
    return order


def no_such_order(order_id: str) -> InvalidInput:
    """What is said of an order that there is not."""
    return InvalidInput(f"there is no order {order_id}: shop orders list shows the latest")
