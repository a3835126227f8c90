"""Shipments in the shipping service's database.

A shipment is what has been heard of an order, each fact with its time, so it is the same in
whichever order the facts came. Its status is the first of these that holds:

    shipped   given to the carrier
    void      the order was cancelled; its address is forgotten
    open      something is known of the order, and it waits for the rest
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, func, select

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

_since = func.coalesce(
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
    """What is known of an order that is to be shipped; None is what has not been heard."""

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
        """Whether it is to be given to the carrier now."""
        known = self.opened_at and self.paid_at and self.reserved_at
        return bool(known) and not self.voided_at and not self.shipped_at


class ShippingStore(Store):
    """Shipments, within one transaction."""

    def __init__(self, connection: Connection, database: Database) -> None:
        super().__init__(connection, database)
        self.shipments = LockedRows(self, shipments, Shipment)

    def prepare(self, events: Sequence[DomainEvent]) -> None:
        """Lock and read the orders' shipments."""
        self.shipments.lock_or_make(
            event.order_id for event in events if isinstance(event, OrderEvent)
        )

    def flush(self) -> None:
        """Write what has changed."""
        self.shipments.write()

    def listed(self, *, status: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """Shipments without their addresses, newest first.

        Args:
            status: `open`, `shipped` or `void`; None for all.
        """
        statement = select(*_LISTED).order_by(_since.desc(), shipments.c.order_id).limit(limit)
        if status is not None:
            statement = statement.where(_status == status)
        return [dict(row) for row in self.connection.execute(statement).mappings()]
