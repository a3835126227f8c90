"""An order: its content, and the time of each status that it has reached."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from shared.errors import OperationFailed

STATUSES = ("placed", "reserved", "paid", "shipped", "cancelled")
"""The statuses of an order, the furthest last; `Order.STATUS_at` is the time of each."""

CURRENCY = "EUR"
"""The currency of the price list."""


class OrderConflict(OperationFailed):
    """The order's current status does not allow this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """An entry of the price list."""

    sku: str
    name: str
    unit_price: Decimal
    currency: str = CURRENCY


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order; the time of a status that it has not reached is None.

    Attributes:
        items: quantities by product.
        correlation_id: the correlation id of all events of this order.
        refunded_amount: set when the order is cancelled; 0 if nothing was paid.
    """

    order_id: str
    customer_email: str = field(repr=False)
    shipping_address: str = field(repr=False)
    items: Mapping[str, int]
    total_amount: Decimal
    currency: str
    correlation_id: UUID
    payment_method: str | None = None
    refunded_amount: Decimal | None = None
    cancel_reason: str | None = None
    carrier: str | None = None
    tracking_number: str | None = None
    placed_at: datetime
    reserved_at: datetime | None = None
    paid_at: datetime | None = None
    shipped_at: datetime | None = None
    cancelled_at: datetime | None = None

    @property
    def status(self) -> str:
        """The furthest status that the order has reached."""
        return next(status for status in reversed(STATUSES) if getattr(self, f"{status}_at"))

    @property
    def record(self) -> dict[str, object]:
        """All fields and the status by name, for output."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {"order_id": self.order_id, "status": self.status} | values


def items_summary(items: Mapping[str, int]) -> str:
    """Quantities by product as text, such as `2 × product-1, 1 × product-2`."""
    return ", ".join(f"{quantity} × {sku}" for sku, quantity in items.items())
