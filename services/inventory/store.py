"""Stock and reservations in the inventory's database.

Guarantees: whoever handles an order holds its reservation, and then its products in the order of
their names, so any number of processes neither oversell nor deadlock.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, select, update

from services.inventory.tables import products, reservations
from shared.errors import InvalidInput
from shared.events import DomainEvent, OrderEvent, OrderPlaced
from shared.storage.database import Database
from shared.storage.locked_rows import LockedRows
from shared.storage.unit_of_work import Store


class State(StrEnum):
    """How far a reservation is.

    NEW lasts no longer than a transaction. RESERVED includes what was shipped since. CANCELLED
    never held anything: its order ran short, or was cancelled before it was heard of.
    """

    NEW = "new"
    RESERVED = "reserved"
    SHORT = "short"
    RELEASED = "released"
    CANCELLED = "cancelled"


@dataclass
class Product:
    """How many pieces there are."""

    sku: str
    available: int
    reserved: int


@dataclass
class Reservation:
    """What is put aside for an order; assign to its fields, `items` is not to be changed."""

    order_id: str
    state: str
    items: Mapping[str, int]


class InventoryStore(Store):
    """Stock and reservations, within one transaction."""

    def __init__(self, connection: Connection, database: Database) -> None:
        super().__init__(connection, database)
        self.products = LockedRows(self, products, Product)
        self.reservations = LockedRows(self, reservations, Reservation)

    def prepare(self, events: Sequence[DomainEvent]) -> None:
        """Lock and read the orders' reservations and then the products that they are about."""
        orders = [event for event in events if isinstance(event, OrderEvent)]
        self.reservations.lock_or_make(order.order_id for order in orders)
        self.products.lock(self._skus(orders))

    def _skus(self, orders: Sequence[OrderEvent]) -> Iterator[str]:
        for order in orders:
            yield from self.reservations[order.order_id].items
            if isinstance(order, OrderPlaced):
                yield from order.items

    def flush(self) -> None:
        """Write what has changed."""
        self.products.write()
        self.reservations.write()

    def missing(self, items: Mapping[str, int]) -> dict[str, int]:
        """How many pieces there are too few, by product; an unknown product lacks them all."""
        lacking = {sku: wanted - self._available(sku) for sku, wanted in items.items()}
        return {sku: pieces for sku, pieces in lacking.items() if pieces > 0}

    def _available(self, sku: str) -> int:
        return self.products[sku].available if sku in self.products else 0

    def put_aside(self, order_id: str, items: Mapping[str, int]) -> None:
        """Reserve all lines for an order."""
        self._move(items, 1)
        reservation = self.reservations[order_id]
        reservation.state, reservation.items = State.RESERVED, dict(items)

    def give_back(self, order_id: str) -> None:
        """Make available again what is reserved for an order."""
        reservation = self.reservations[order_id]
        self._move(reservation.items, -1)
        reservation.state = State.RELEASED

    def _move(self, items: Mapping[str, int], direction: int) -> None:
        for sku, pieces in items.items():
            product = self.products[sku]
            product.available -= direction * pieces
            product.reserved += direction * pieces

    def stock(self) -> list[dict[str, Any]]:
        """All products, by name."""
        found = self.connection.execute(select(products).order_by(products.c.sku))
        return [dict(row) for row in found.mappings()]

    def restock(self, sku: str, pieces: int) -> dict[str, Any]:
        """Add pieces to a product; answers its new numbers.

        Raises:
            InvalidInput: there is no such product.
        """
        statement = (
            update(products)
            .where(products.c.sku == sku)
            .values(available=products.c.available + pieces)
            .returning(*products.c)
        )
        found = self.connection.execute(statement).mappings().first()
        if found is None:
            known = ", ".join(each["sku"] for each in self.stock())
            raise InvalidInput(f"there is no product {sku!r}; there are {known}")
        return dict(found)
