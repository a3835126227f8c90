"""The declaration of the shipping service."""

from services.shipping.handlers import (
    note_payment,
    note_reservation,
    open_shipment,
    void_shipment,
)
from services.shipping.store import ShippingStore
from shared.events import OrderCancelled, OrderPlaced, OrderShipped, PaymentReceived, StockReserved
from shared.runtime.service import Service

shipping = Service("shipping", store=ShippingStore, publishes=(OrderShipped,))
shipping.on(OrderPlaced, open_shipment)
shipping.on(PaymentReceived, note_payment)
shipping.on(StockReserved, note_reservation)
shipping.on(OrderCancelled, void_shipment)
