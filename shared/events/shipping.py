"""The events that the shipping service publishes."""

from typing import ClassVar

from shared.events.fields import Word
from shared.events.orders import OrderEvent


class OrderShipped(OrderEvent):
    """A paid and reserved order has been given to the carrier."""

    topic: ClassVar[str] = "order.shipped"

    tracking_number: Word
    carrier: Word
