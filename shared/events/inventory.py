"""The events that the inventory service publishes."""

from typing import ClassVar

from shared.events.fields import Items
from shared.events.orders import OrderEvent

PUBLISHERS = frozenset({"inventory"})


class StockReserved(OrderEvent):
    """All items of an order are reserved."""

    topic: ClassVar[str] = "stock.reserved"
    publishers = PUBLISHERS

    items: Items


class StockRanShort(OrderEvent):
    """An order cannot be reserved: nothing is reserved, and these pieces are missing."""

    topic: ClassVar[str] = "stock.ran_short"
    publishers = PUBLISHERS

    missing: Items
