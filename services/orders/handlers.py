"""The handlers of the order service: they record the reactions of other services to an order.

The events can arrive in any order: each sets its own time, and the status is the furthest of them.
"""

from collections.abc import Mapping
from dataclasses import replace

from services.orders.cancelling import cancel
from services.orders.order import Order, items_summary
from services.orders.store import OrdersStore
from shared.errors import Impossible
from shared.events import OrderEvent, OrderShipped, StockRanShort, StockReserved
from shared.storage.unit_of_work import UnitOfWork

Work = UnitOfWork[OrdersStore]

_MAX_REASON_LENGTH = 200
"""Characters; the limit of `shared.events.fields.Reason`."""


def record_reservation(event: StockReserved, work: Work) -> None:
    """Record that the order's stock is reserved.

    Raises:
        Impossible: the order does not exist; dead.
    """
    order = _locked_order(event, work.store)
    work.store.save(replace(order, reserved_at=order.reserved_at or event.occurred_at))
    work.note("reserved")


def record_shipping(event: OrderShipped, work: Work) -> None:
    """Record that the order has been shipped, with its carrier and tracking number.

    Raises:
        Impossible: the order does not exist or has been cancelled; dead.
    """
    order = _locked_order(event, work.store)
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


def cancel_for_shortage(event: StockRanShort, work: Work) -> None:
    """Cancel the order because stock ran short, and refund what was paid.

    Raises:
        Impossible: the order does not exist or has been shipped; dead.
    """
    order = _locked_order(event, work.store)
    if order.cancelled_at:
        work.note("already cancelled")
        return
    if order.shipped_at:
        raise Impossible(f"{order.order_id} ran short, but it had been shipped")
    cancelled = cancel(order, _shortage_reason(event.missing), work)
    work.note(f"cancelled, {cancelled.refunded_amount} {cancelled.currency} refunded")


def _locked_order(event: OrderEvent, store: OrdersStore) -> Order:
    order = store.locked(event.order_id)
    if order is None:
        raise Impossible(f"{event.type} of {event.order_id}, which was never placed here")
    return order


def _shortage_reason(missing: Mapping[str, int]) -> str:
    """The reason of the cancellation; names as many products as fit."""
    reason = f"out of stock: {items_summary(missing)}"
    named = len(missing)
    while len(reason) > _MAX_REASON_LENGTH:
        named -= 1
        first = items_summary(dict(list(missing.items())[:named]))
        reason = f"out of stock: {first} and {len(missing) - named} more"
    return reason
