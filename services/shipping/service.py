"""The declaration of the shipping service."""

from services.shipping.handlers import (
    open_shipment,
    record_payment,
    record_reservation,
    void_shipment,
)
from services.shipping.store import ShippingStore
from shared.events import OrderCancelled, OrderPlaced, OrderShipped, PaymentReceived, StockReserved
from shared.runtime.service import Service

shipping = Service("shipping", store=ShippingStore, publishes=(OrderShipped,))
shipping.on(OrderPlaced, open_shipment)
shipping.on(PaymentReceived, record_payment)
shipping.on(StockReserved, record_reservation)
shipping.on(OrderCancelled, void_shipment)
