"""The facts that the inventory service publishes."""

from typing import ClassVar

from shared.events.fields import Items
from shared.events.orders import OrderEvent


class StockReserved(OrderEvent):
    """Every line of an order has been put aside for it."""

    topic: ClassVar[str] = "stock.reserved"

    items: Items


class StockRanShort(OrderEvent):
    """An order cannot be reserved: nothing was put aside, and these pieces are missing."""

    topic: ClassVar[str] = "stock.ran_short"

    missing: Items
