"""The events that the order service publishes."""

from typing import ClassVar

from shared.events.domain_event import DomainEvent
from shared.events.fields import (
    Currency,
    EmailAddress,
    Items,
    Money,
    OrderId,
    Reason,
    ShippingAddress,
    Word,
)

PUBLISHERS = frozenset({"orders"})


class OrderEvent(DomainEvent):
    """The base of all events about an order; a subscription to it receives all known ones."""

    order_id: OrderId

    @property
    def subject(self) -> str:
        """The order's id."""
        return self.order_id


class OrderPlaced(OrderEvent):
    """A customer has placed an order; its total is final."""

    topic: ClassVar[str] = "order.placed"
    publishers = PUBLISHERS

    customer_email: EmailAddress
    items: Items
    shipping_address: ShippingAddress
    total_amount: Money
    currency: Currency


class PaymentReceived(OrderEvent):
    """The whole amount of an order has been paid."""

    topic: ClassVar[str] = "payment.received"
    publishers = PUBLISHERS

    amount: Money
    payment_method: Word


class OrderCancelled(OrderEvent):
    """An order will not be fulfilled; the amount paid is refunded (0.00 if unpaid)."""

    topic: ClassVar[str] = "order.cancelled"
    publishers = PUBLISHERS

    reason: Reason
    refunded_amount: Money
