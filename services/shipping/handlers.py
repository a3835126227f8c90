"""The handlers of the shipping service: an order ships when it is placed, paid and reserved.

The events can arrive in any order; the last of the three ships the order.
"""

from services.shipping.carrier import hand_over
from services.shipping.store import Shipment, ShippingStore
from shared.events import OrderCancelled, OrderPlaced, OrderShipped, PaymentReceived, StockReserved
from shared.storage.unit_of_work import UnitOfWork

Work = UnitOfWork[ShippingStore]


def open_shipment(event: OrderPlaced, work: Work) -> None:
    """Open a shipment to the order's address, unless the order is already cancelled."""
    shipment = work.store.shipments[event.order_id]
    shipment.opened_at = event.occurred_at
    if shipment.voided_at:
        work.note("nothing to ship: the order is already cancelled")
        return
    shipment.address = event.shipping_address
    work.note("shipment opened")
    _ship_if_ready(shipment, work)


def record_payment(event: PaymentReceived, work: Work) -> None:
    """Record that the order is paid; ship it if it is also placed and reserved."""
    shipment = work.store.shipments[event.order_id]
    shipment.paid_at = event.occurred_at
    work.note("payment recorded")
    _ship_if_ready(shipment, work)


def record_reservation(event: StockReserved, work: Work) -> None:
    """Record that the order's stock is reserved; ship it if it is also placed and paid."""
    shipment = work.store.shipments[event.order_id]
    shipment.reserved_at = event.occurred_at
    work.note("reservation recorded")
    _ship_if_ready(shipment, work)


def void_shipment(event: OrderCancelled, work: Work) -> None:
    """Prevent the order from being shipped, and delete its address."""
    shipment = work.store.shipments[event.order_id]
    shipment.voided_at = event.occurred_at
    shipment.address = None
    work.note("shipment voided")


def _ship_if_ready(shipment: Shipment, work: Work) -> None:
    if not shipment.is_ready:
        return
    shipment.carrier, shipment.tracking_number = hand_over(shipment.order_id)
    shipped = OrderShipped(
        order_id=shipment.order_id,
        carrier=shipment.carrier,
        tracking_number=shipment.tracking_number,
    )
    shipment.shipped_at = shipped.occurred_at
    work.publish(shipped)
    work.note(f"shipped as {shipment.tracking_number}")
