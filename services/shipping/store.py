"""Shipments in the shipping database.

A shipment is one row that collects the events of an order, each with its time. So its state does
not depend on the order in which they arrive. Its status is the first of these that applies:

    shipped   it was handed to the carrier
    void      the order was cancelled; the address is deleted
    open      events are missing
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, case, func, select

from services.shipping.tables import shipments
from shared.events import DomainEvent, OrderEvent
from shared.storage.database import Database
from shared.storage.locked_rows import LockedRows
from shared.storage.unit_of_work import Store

_status = case(
    (shipments.c.shipped_at.is_not(None), "shipped"),
    (shipments.c.voided_at.is_not(None), "void"),
    else_="open",
).label("status")

_HAS_STATUS = {
    "shipped": shipments.c.shipped_at.is_not(None),
    "void": and_(shipments.c.shipped_at.is_(None), shipments.c.voided_at.is_not(None)),
    "open": and_(shipments.c.shipped_at.is_(None), shipments.c.voided_at.is_(None)),
}
"""As `_status`; each has an index with the same condition."""

_first_seen_at = func.coalesce(
    shipments.c.opened_at, shipments.c.paid_at, shipments.c.reserved_at, shipments.c.voided_at
)

_LISTED = (
    shipments.c.order_id,
    _status,
    shipments.c.carrier,
    shipments.c.tracking_number,
    shipments.c.opened_at,
    shipments.c.paid_at,
    shipments.c.reserved_at,
    shipments.c.voided_at,
    shipments.c.shipped_at,
)


@dataclass
class Shipment:
    """The shipment of an order; a field is None until its event has arrived."""

    order_id: str
    address: str | None
    opened_at: datetime | None
    paid_at: datetime | None
    reserved_at: datetime | None
    voided_at: datetime | None
    carrier: str | None
    tracking_number: str | None
    shipped_at: datetime | None

    @property
    def is_ready(self) -> bool:
        """Whether everything has arrived and the shipment is neither void nor shipped."""
        is_complete = self.opened_at and self.paid_at and self.reserved_at
        return bool(is_complete) and not self.voided_at and not self.shipped_at


class ShippingStore(Store):
    """Shipments, within one transaction."""

    def __init__(self, connection: Connection, database: Database) -> None:
        super().__init__(connection, database)
        self.shipments = LockedRows(connection, shipments, Shipment)

    def prepare(self, events: Sequence[DomainEvent]) -> None:
        """Lock and read the shipments of a batch's orders."""
        orders = [event for event in events if isinstance(event, OrderEvent)]
        self.shipments.lock_or_insert(order.order_id for order in orders)

    def flush(self) -> None:
        """Write the rows that changed."""
        self.shipments.write()

    def listed(self, *, status: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """Shipments with this status, or all, without their addresses, newest first."""
        newest_first = select(*_LISTED).order_by(_first_seen_at.desc(), shipments.c.order_id)
        if status is not None:
            newest_first = newest_first.where(_HAS_STATUS[status])
        rows = self.connection.execute(newest_first.limit(limit)).mappings()
        return [dict(row) for row in rows]
