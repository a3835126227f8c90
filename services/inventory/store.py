"""Stock and reservations in the inventory database.

A batch locks its reservations first and its products second, each in key order. So any number of
processes neither oversell nor deadlock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Any

from sqlalchemy import Connection, select, update

from services.inventory.tables import products, reservations
from shared.errors import InvalidInput
from shared.events import DomainEvent, OrderEvent, OrderPlaced
from shared.storage.database import Database
from shared.storage.locked_rows import LockedRows
from shared.storage.unit_of_work import Store


class State(StrEnum):
    """The state of a reservation.

    NEW exists only within a transaction. RESERVED includes orders that were shipped since.
    CANCELLED never held stock: its order ran short, or was cancelled before it was placed here.
    """

    NEW = "new"
    RESERVED = "reserved"
    SHORT = "short"
    RELEASED = "released"
    CANCELLED = "cancelled"


@dataclass
class StockLevel:
    """Pieces of one product."""

    sku: str
    available: int
    reserved: int


@dataclass
class Reservation:
    """Pieces reserved for an order, by product; replace `items`, do not change it in place."""

    order_id: str
    state: str
    items: Mapping[str, int]


class InventoryStore(Store):
    """Stock and reservations, within one transaction."""

    def __init__(self, connection: Connection, database: Database) -> None:
        super().__init__(connection, database)
        self.products = LockedRows(connection, products, StockLevel)
        self.reservations = LockedRows(connection, reservations, Reservation)

    def prepare(self, events: Sequence[DomainEvent]) -> None:
        """Lock and read the reservations of a batch's orders, then their products."""
        orders = [event for event in events if isinstance(event, OrderEvent)]
        self.reservations.lock_or_insert(order.order_id for order in orders)
        reserved = (self.reservations[order.order_id].items for order in orders)
        placed = (order.items for order in orders if isinstance(order, OrderPlaced))
        self.products.lock(sku for items in chain(reserved, placed) for sku in items)

    def flush(self) -> None:
        """Write the rows that changed."""
        self.products.write()
        self.reservations.write()

    def missing(self, items: Mapping[str, int]) -> dict[str, int]:
        """Pieces that are not available, by product; an unknown product has none available."""
        missing = {sku: quantity - self._available(sku) for sku, quantity in items.items()}
        return {sku: quantity for sku, quantity in missing.items() if quantity > 0}

    def _available(self, sku: str) -> int:
        return self.products[sku].available if sku in self.products else 0

    def reserve(self, order_id: str, items: Mapping[str, int]) -> None:
        """Reserve all items for an order."""
        self._move(items, 1)
        reservation = self.reservations[order_id]
        reservation.state, reservation.items = State.RESERVED, dict(items)

    def release(self, order_id: str) -> None:
        """Make the items of a reservation available again."""
        reservation = self.reservations[order_id]
        self._move(reservation.items, -1)
        reservation.state = State.RELEASED

    def _move(self, items: Mapping[str, int], direction: int) -> None:
        for sku, quantity in items.items():
            product = self.products[sku]
            product.available -= direction * quantity
            product.reserved += direction * quantity

    def stock(self) -> list[dict[str, Any]]:
        """All products, by SKU."""
        rows = self.connection.execute(select(products).order_by(products.c.sku))
        return [dict(row) for row in rows.mappings()]

    def restock(self, sku: str, pieces: int) -> dict[str, Any]:
        """Add pieces to a product and return its stock; raises InvalidInput for an unknown one."""
        statement = (
            update(products)
            .where(products.c.sku == sku)
            .values(available=products.c.available + pieces)
            .returning(*products.c)
        )
        row = self.connection.execute(statement).mappings().first()
        if row is None:
            known = ", ".join(product["sku"] for product in self.stock())
            raise InvalidInput(f"there is no product {sku!r}; there are {known}")
        return dict(row)
