"""Orders and the price list in the orders database."""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Result,
    Select,
    UnaryExpression,
    and_,
    bindparam,
    select,
    update,
)

from services.orders.order import STATUSES, Order, Product
from services.orders.tables import order_lines, orders, products
from shared.events import DomainEvent, OrderEvent
from shared.storage.database import Database
from shared.storage.unit_of_work import Store

_MUTABLE = (
    "payment_method",
    "refunded_amount",
    "cancel_reason",
    "carrier",
    "tracking_number",
    "reserved_at",
    "paid_at",
    "shipped_at",
    "cancelled_at",
)


class OrdersStore(Store):
    """Reads orders under a lock, and writes the changed ones when it is flushed."""

    def __init__(self, connection: Connection, database: Database) -> None:
        super().__init__(connection, database)
        self._locked: dict[str, Order] = {}
        self._changed: set[str] = set()

    def prepare(self, events: Sequence[DomainEvent]) -> None:
        """Lock and read the orders of a batch."""
        self._lock({event.order_id for event in events if isinstance(event, OrderEvent)})

    def locked(self, order_id: str) -> Order | None:
        """Lock and read an order until the transaction ends; None for an unknown id."""
        if order_id not in self._locked:
            self._lock({order_id})
        return self._locked.get(order_id)

    def save(self, order: Order) -> None:
        """Store the new state of a locked order; `flush` writes it."""
        self._locked[order.order_id] = order
        self._changed.add(order.order_id)

    def flush(self) -> None:
        """Write the orders that were saved."""
        rows = [
            {"key": key, **{name: getattr(self._locked[key], name) for name in _MUTABLE}}
            for key in sorted(self._changed)
        ]
        if rows:
            by_key = update(orders).where(orders.c.order_id == bindparam("key"))
            self.connection.execute(by_key, rows)
        self._changed.clear()

    def add(self, order: Order, unit_prices: Mapping[str, Decimal]) -> bool:
        """Insert a new order; return False if its id is taken.

        While another transaction inserts the same id, this call waits until that one has ended.
        """
        row = {column.name: getattr(order, column.name) for column in orders.columns}
        insert = self.insert(orders).on_conflict_do_nothing().returning(orders.c.order_id)
        if self.connection.execute(insert, row).first() is None:
            return False
        lines = [
            {
                "order_id": order.order_id,
                "sku": sku,
                "quantity": quantity,
                "unit_price": unit_prices[sku],
            }
            for sku, quantity in order.items.items()
        ]
        self.connection.execute(order_lines.insert(), lines)
        return True

    def find(self, order_id: str) -> Order | None:
        """Read an order without a lock; None for an unknown id."""
        statement = _with_lines(orders).where(orders.c.order_id == order_id)
        return next(iter(_orders_from(self.connection.execute(statement))), None)

    def latest(self, *, limit: int, status: str | None = None) -> list[Order]:
        """Orders, newest first; `status` is one of STATUSES, or None for all orders."""
        newest = select(orders).order_by(*_newest_first(orders)).limit(limit)
        if status is not None:
            newest = newest.where(_has_status(status))
        page = newest.subquery()
        statement = _with_lines(page).order_by(*_newest_first(page))
        return _orders_from(self.connection.execute(statement))

    def products(self) -> list[Product]:
        """The price list, by SKU."""
        rows = self.connection.execute(select(products).order_by(products.c.sku)).mappings()
        return [Product(**row) for row in rows]

    def unit_prices(self, skus: Collection[str]) -> dict[str, Decimal]:
        """The unit price of each product; unknown products are left out."""
        statement = select(products.c.sku, products.c.unit_price).where(products.c.sku.in_(skus))
        return {row.sku: row.unit_price for row in self.connection.execute(statement)}

    def _lock(self, order_ids: Collection[str]) -> None:
        if not order_ids:
            return
        statement = (
            _with_lines(orders)
            .where(orders.c.order_id.in_(order_ids))
            # Every process locks in key order, so that processes wait instead of deadlocking.
            .order_by(orders.c.order_id)
            .with_for_update(of=orders)
        )
        found = _orders_from(self.connection.execute(statement))
        self._locked |= {order.order_id: order for order in found}


def _with_lines(source: FromClause) -> Select[Any]:
    """Orders joined with their lines: one row for each line. Every order has at least one."""
    same_order = source.c.order_id == order_lines.c.order_id
    return select(source, order_lines.c.sku, order_lines.c.quantity).join(order_lines, same_order)


def _orders_from(result: Result[Any]) -> list[Order]:
    """The orders of a result of `_with_lines`, in its order; their items are sorted by SKU."""
    rows: dict[str, dict[str, Any]] = {}
    items: dict[str, dict[str, int]] = {}
    for line in result.mappings():
        row = dict(line)
        sku, quantity = row.pop("sku"), row.pop("quantity")
        rows[row["order_id"]] = row
        items.setdefault(row["order_id"], {})[sku] = quantity
    return [
        Order(items=MappingProxyType(dict(sorted(items[order_id].items()))), **row)
        for order_id, row in rows.items()
    ]


def _newest_first(source: FromClause) -> tuple[UnaryExpression[Any], ...]:
    return source.c.placed_at.desc(), source.c.order_id.desc()


def _has_status(status: str) -> ColumnElement[bool]:
    """Whether an order has reached this status and no later one; see `Order.status`.

    Each status has an index with the same condition.
    """
    later = STATUSES[STATUSES.index(status) + 1 :]
    return and_(
        orders.c[f"{status}_at"].is_not(None),
        *(orders.c[f"{each}_at"].is_(None) for each in later),
    )
