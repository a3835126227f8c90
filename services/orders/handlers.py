"""What becomes of an order elsewhere, noted here; an order that cannot be had is cancelled.

The order in which these facts arrive makes no difference: each sets a time of its own, and the
order's status is the furthest of them.
"""

from collections.abc import Mapping
from dataclasses import replace

from services.orders.cancelling import cancel
from services.orders.order import Order, in_words
from services.orders.store import OrdersStore
from shared.errors import Impossible
from shared.events import OrderEvent, OrderShipped, StockRanShort, StockReserved
from shared.storage.unit_of_work import UnitOfWork

_LONGEST_REASON = 200
"""Characters, as the contract has it: see `shared.events.fields.Reason`."""


def note_reservation(event: StockReserved, work: UnitOfWork[OrdersStore]) -> None:
    """Note that all of an order has been put aside."""
    order = _known(event, work.store)
    work.store.save(replace(order, reserved_at=order.reserved_at or event.occurred_at))
    work.note("reserved")


def note_shipping(event: OrderShipped, work: UnitOfWork[OrdersStore]) -> None:
    """Note that an order is on its way, and how to follow it."""
    order = _known(event, work.store)
    if order.cancelled_at:
        raise Impossible(f"{order.order_id} was shipped, but it had been cancelled")
    if order.shipped_at is None:
        shipped = replace(
            order,
            shipped_at=event.occurred_at,
            carrier=event.carrier,
            tracking_number=event.tracking_number,
        )
        work.store.save(shipped)
    work.note(f"shipped with {event.carrier}")


def cancel_for_shortage(event: StockRanShort, work: UnitOfWork[OrdersStore]) -> None:
    """Cancel an order that cannot be had, giving back what was paid."""
    order = _known(event, work.store)
    if order.cancelled_at:
        work.note("was cancelled already")
        return
    if order.shipped_at:
        raise Impossible(f"{order.order_id} ran short, but it had been shipped")
    cancelled = cancel(order, _out_of_stock(event.missing), work)
    work.note(f"cancelled, {cancelled.refunded_amount} {cancelled.currency} given back")


def _known(event: OrderEvent, store: OrdersStore) -> Order:
    order = store.locked(event.order_id)
    if order is None:
        raise Impossible(f"{event.type} of {event.order_id}, which was never placed here")
    return order


def _out_of_stock(missing: Mapping[str, int]) -> str:
    """The reason, with as many products as it may hold."""
    reason = f"out of stock: {in_words(missing)}"
    named = len(missing)
    while len(reason) > _LONGEST_REASON:
        named -= 1
        some = in_words(dict(list(missing.items())[:named]))
        reason = f"out of stock: {some} and {len(missing) - named} more"
    return reason
