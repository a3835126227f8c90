"""Sample events of one order, one function for each type."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

from shared.events import (
    OrderCancelled,
    OrderPlaced,
    OrderShipped,
    PaymentReceived,
    StockRanShort,
    StockReserved,
)

CUSTOMER = "jane@example.com"
ADDRESS = "123 Main St, Springfield"


def a_new_order() -> str:
    """A random order id."""
    return f"ORD-{uuid4()}"


def placed(order_id: str = "ORD-1", **changes: Any) -> OrderPlaced:
    content = {
        "customer_email": CUSTOMER,
        "items": {"product-1": 2, "product-2": 1},
        "shipping_address": ADDRESS,
        "total_amount": Decimal("99.99"),
        "currency": "EUR",
    }
    return OrderPlaced(order_id=order_id, **(content | changes))


def paid(order_id: str = "ORD-1") -> PaymentReceived:
    return PaymentReceived(order_id=order_id, amount=Decimal("99.99"), payment_method="card")


def reserved(order_id: str = "ORD-1") -> StockReserved:
    return StockReserved(order_id=order_id, items={"product-1": 2, "product-2": 1})


def short(order_id: str = "ORD-1") -> StockRanShort:
    return StockRanShort(order_id=order_id, missing={"product-1": 2})


def shipped(order_id: str = "ORD-1") -> OrderShipped:
    return OrderShipped(order_id=order_id, tracking_number="T-1", carrier="Post")


def cancelled(order_id: str = "ORD-1") -> OrderCancelled:
    return OrderCancelled(order_id=order_id, reason="too late", refunded_amount=Decimal(0))
