"""The events that the shipping service publishes."""

from typing import ClassVar

from shared.events.fields import Word
from shared.events.orders import OrderEvent

PUBLISHERS = frozenset({"shipping"})


class OrderShipped(OrderEvent):
    """A paid and reserved order has been given to the carrier."""

    topic: ClassVar[str] = "order.shipped"
    publishers = PUBLISHERS

    tracking_number: Word
    carrier: Word
