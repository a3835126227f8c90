"""The facts that the order service publishes."""

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


class OrderEvent(DomainEvent):
    """Something happened to an order; subscribing to it means every such event known here."""

    order_id: OrderId

    @property
    def subject(self) -> str:
        """The order's id."""
        return self.order_id


class OrderPlaced(OrderEvent):
    """A customer has ordered, at a total that holds."""

    topic: ClassVar[str] = "order.placed"

    customer_email: EmailAddress
    items: Items
    shipping_address: ShippingAddress
    total_amount: Money
    currency: Currency


class PaymentReceived(OrderEvent):
    """The whole amount of an order has been paid."""

    topic: ClassVar[str] = "payment.received"

    amount: Money
    payment_method: Word


class OrderCancelled(OrderEvent):
    """An order will not be fulfilled; what was paid is given back (0.00 if nothing was)."""

    topic: ClassVar[str] = "order.cancelled"

    reason: Reason
    refunded_amount: Money
