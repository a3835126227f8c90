"""The declaration of the order service."""

from services.orders.handlers import cancel_for_shortage, record_reservation, record_shipping
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
orders.on(StockReserved, record_reservation)
orders.on(StockRanShort, cancel_for_shortage)
orders.on(OrderShipped, record_shipping)
