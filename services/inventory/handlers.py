"""The handlers of the inventory service: they reserve and release stock.

An OrderCancelled that arrives before its OrderPlaced prevents the reservation.
"""

from collections.abc import Mapping
from itertools import islice

from services.inventory.store import InventoryStore, State
from shared.events import OrderCancelled, OrderPlaced, StockRanShort, StockReserved
from shared.storage.unit_of_work import UnitOfWork

Work = UnitOfWork[InventoryStore]


def reserve_stock(event: OrderPlaced, work: Work) -> None:
    """Reserve every line of the order, or announce which products ran short."""
    store, order_id = work.store, event.order_id
    reservation = store.reservations[order_id]
    if reservation.state != State.NEW:
        work.note(f"nothing reserved: the reservation is already {reservation.state}")
    elif missing := store.missing(event.items):
        reservation.state = State.SHORT
        work.publish(StockRanShort(order_id=order_id, missing=missing))
        work.note(f"{_summary(missing)} missing")
    else:
        store.reserve(order_id, event.items)
        work.publish(StockReserved(order_id=order_id, items=event.items))
        work.note(f"{_summary(event.items)} reserved")


def release_stock(event: OrderCancelled, work: Work) -> None:
    """Release what is reserved for the order, or prevent a later reservation."""
    reservation = work.store.reservations[event.order_id]
    if reservation.state == State.RESERVED:
        work.store.release(event.order_id)
        work.note(f"{_summary(reservation.items)} released")
    elif reservation.state != State.RELEASED:
        reservation.state = State.CANCELLED
        work.note("nothing to release")


def _summary(items: Mapping[str, int], limit: int = 3) -> str:
    first = ", ".join(f"{quantity} × {sku}" for sku, quantity in islice(items.items(), limit))
    return first if len(items) <= limit else f"{first} and {len(items) - limit} more"
