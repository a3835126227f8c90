"""What an order is: what was asked for, and what has happened to it so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from shared.errors import OperationFailed

STATUSES = ("placed", "reserved", "paid", "shipped", "cancelled")
"""How far an order can be; each has its time in a field `STATUS_at`."""

CURRENCY = "EUR"
"""Of the whole price list."""


class OrderRefuses(OperationFailed):
    """What has happened to the order so far does not allow it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A line of the price list."""

    sku: str
    name: str
    unit_price: Decimal
    currency: str = CURRENCY


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order and its history; the time of what has not happened is None.

    Attributes:
        items: pieces by product.
        correlation_id: the conversation that all its events belong to.
        refunded_amount: what was given back when it was cancelled.
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
        """The furthest that it has come; nothing undoes a cancellation."""
        return next(each for each in reversed(STATUSES) if getattr(self, f"{each}_at"))

    @property
    def record(self) -> dict[str, object]:
        """All of it by name, to be shown."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {"order_id": self.order_id, "status": self.status} | values


def in_words(items: Mapping[str, int]) -> str:
    """Pieces by product, for a person: `2 × product-1, 1 × product-2`."""
    return ", ".join(f"{quantity} × {sku}" for sku, quantity in items.items())
