"""The declaration of the order service."""

from services.orders.handlers import cancel_for_shortage, note_reservation, note_shipping
from services.orders.store import OrdersStore
from shared.events import (
    OrderCancelled,
    OrderPlaced,
    OrderShipped,
    PaymentReceived,
    StockRanShort,
    StockReserved,
)
from shared.runtime.service import Service

orders = Service(
    "orders", store=OrdersStore, publishes=(OrderPlaced, PaymentReceived, OrderCancelled)
)
orders.on(StockReserved, note_reservation)
orders.on(StockRanShort, cancel_for_shortage)
orders.on(OrderShipped, note_shipping)
