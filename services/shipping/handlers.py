"""What shipping does with what it hears of an order; whichever comes last makes it ship."""

from services.shipping.carrier import hand_over
from services.shipping.store import Shipment, ShippingStore
from shared.events import OrderCancelled, OrderPlaced, OrderShipped, PaymentReceived, StockReserved
from shared.storage.unit_of_work import UnitOfWork

Work = UnitOfWork[ShippingStore]


def open_shipment(event: OrderPlaced, work: Work) -> None:
    """Open a shipment to the order's address; a cancelled order's address is not kept."""
    shipment = work.store.shipments[event.order_id]
    shipment.opened_at = event.occurred_at
    if shipment.voided_at:
        work.note("nothing to ship: the order is cancelled already")
        return
    shipment.address = event.shipping_address
    work.note("shipment opened")
    _ship_if_ready(shipment, work)


def note_payment(event: PaymentReceived, work: Work) -> None:
    """Ship, if the payment was the last thing missing."""
    shipment = work.store.shipments[event.order_id]
    shipment.paid_at = event.occurred_at
    work.note("payment noted")
    _ship_if_ready(shipment, work)


def note_reservation(event: StockReserved, work: Work) -> None:
    """Ship, if the reservation was the last thing missing."""
    shipment = work.store.shipments[event.order_id]
    shipment.reserved_at = event.occurred_at
    work.note("reservation noted")
    _ship_if_ready(shipment, work)


def void_shipment(event: OrderCancelled, work: Work) -> None:
    """See to it that the order is never shipped, and forget its address."""
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
