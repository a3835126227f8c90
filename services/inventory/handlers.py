"""What the inventory does when orders are placed and cancelled; a cancel may well come first."""

from collections.abc import Mapping
from itertools import islice

from services.inventory.store import InventoryStore, State
from shared.events import OrderCancelled, OrderPlaced, StockRanShort, StockReserved
from shared.storage.unit_of_work import UnitOfWork


def reserve_stock(event: OrderPlaced, work: UnitOfWork[InventoryStore]) -> None:
    """Reserve every line of the order, or announce which products ran short."""
    store, order_id = work.store, event.order_id
    reservation = store.reservations[order_id]
    if reservation.state != State.NEW:
        work.note(f"nothing put aside: the order is {reservation.state} already")
    elif missing := store.missing(event.items):
        reservation.state = State.SHORT
        work.publish(StockRanShort(order_id=order_id, missing=missing))
        work.note(f"{_listed(missing)} missing")
    else:
        store.reserve(order_id, event.items)
        work.publish(StockReserved(order_id=order_id, items=event.items))
        work.note(f"{_listed(event.items)} put aside")


def release_stock(event: OrderCancelled, work: UnitOfWork[InventoryStore]) -> None:
    """Give back what was reserved; before the order is known, see to it that nothing will be."""
    reservation = work.store.reservations[event.order_id]
    if reservation.state == State.RESERVED:
        work.store.release(event.order_id)
        work.note(f"{_listed(reservation.items)} given back")
    elif reservation.state != State.RELEASED:
        reservation.state = State.CANCELLED
        work.note("nothing to give back")


def _listed(items: Mapping[str, int], most: int = 3) -> str:
    some = ", ".join(f"{pieces} × {sku}" for sku, pieces in islice(items.items(), most))
    return some if len(items) <= most else f"{some} and {len(items) - most} more"
