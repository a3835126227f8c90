"""Orders and the price list, as the database keeps them."""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    FromClause,
    Result,
    Select,
    Table,
    UnaryExpression,
    and_,
    select,
)

from services.orders.order import STATUSES, Order, Product
from services.orders.tables import order_lines, orders, products
from shared.events import DomainEvent, OrderEvent
from shared.storage import bulk
from shared.storage.compiled import execute
from shared.storage.database import Database
from shared.storage.unit_of_work import Store

_CHANGING = (
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
    """Reads orders under a lock, and writes what was changed at once."""

    def __init__(self, connection: Connection, database: Database) -> None:
        super().__init__(connection, database)
        self._locked: dict[str, Order] = {}
        self._changed: set[str] = set()

    def prepare(self, events: Sequence[DomainEvent]) -> None:
        """Lock and read the orders that a batch is about."""
        self._lock({event.order_id for event in events if isinstance(event, OrderEvent)})

    def locked(self, order_id: str) -> Order | None:
        """An order that nobody else can change until this unit of work ends."""
        if order_id not in self._locked:
            self._lock({order_id})
        return self._locked.get(order_id)

    def keep(self, order: Order) -> None:
        """Remember what has become of a locked order."""
        self._locked[order.order_id] = order
        self._changed.add(order.order_id)

    def flush(self) -> None:
        """Write what was kept."""
        if not self._changed:
            return
        rows = [
            {name: getattr(self._locked[key], name) for name in ("order_id", *_CHANGING)}
            for key in sorted(self._changed)
        ]
        bulk.update_many(self.connection, orders, rows)
        self._changed.clear()

    def add(self, order: Order, unit_prices: Mapping[str, Decimal]) -> bool:
        """Write a new order, unless there is one of that id.

        Whoever adds the same id at the same time waits here until the first has committed.

        Returns:
            Whether it was written.
        """
        row = {column.name: getattr(order, column.name) for column in orders.columns}
        if bulk.insert_many(self.connection, orders, [row], how=_unless_taken).first() is None:
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
        bulk.insert_many(self.connection, order_lines, lines)
        return True

    def find(self, order_id: str) -> Order | None:
        """An order as it is now; it may change at once."""
        wanted = _with_lines(orders).where(orders.c.order_id == order_id)
        found = _orders_in(self.connection.execute(wanted))
        return found[0] if found else None

    def latest(self, *, limit: int, status: str | None = None) -> list[Order]:
        """Orders, the newest first."""
        newest = select(orders).where(*_is_at(status)).order_by(*_newest_first(orders)).limit(limit)
        those = newest.subquery()
        wanted = _with_lines(those).order_by(*_newest_first(those))
        return _orders_in(self.connection.execute(wanted))

    def products(self) -> list[Product]:
        """The price list."""
        rows = self.connection.execute(select(products).order_by(products.c.sku)).mappings()
        return [Product(**row) for row in rows]

    def unit_prices(self, skus: Collection[str]) -> dict[str, Decimal]:
        """What a piece of each product costs; products that there are not are left out."""
        wanted = _prices(is_sqlite=bulk.is_sqlite(self.connection))
        rows = execute(self.connection, wanted, {bulk.KEYS: list(skus)})
        return {row.sku: row.unit_price for row in rows}

    def _lock(self, order_ids: Collection[str]) -> None:
        if not order_ids:
            return
        wanted = _to_be_locked(is_sqlite=bulk.is_sqlite(self.connection))
        found = _orders_in(execute(self.connection, wanted, {bulk.KEYS: list(order_ids)}))
        self._locked |= {order.order_id: order for order in found}


def _unless_taken(table: Table, insert: bulk.Insert) -> Executable:
    return insert.on_conflict_do_nothing().returning(table.c.order_id)


@cache
def _to_be_locked(*, is_sqlite: bool) -> Select[Any]:
    wanted = _with_lines(orders).where(bulk.among(orders.c.order_id, is_sqlite=is_sqlite))
    # In the order of keys, so that two processes with the same orders wait, not deadlock.
    return wanted.order_by(orders.c.order_id).with_for_update(of=orders)


def _with_lines(some: FromClause) -> Select[Any]:
    """Orders, each as often as it has lines, of which there is at least one."""
    of_them = some.c.order_id == order_lines.c.order_id
    return select(some, order_lines.c.sku, order_lines.c.quantity).join(order_lines, of_them)


def _orders_in(found: Result[Any]) -> list[Order]:
    """Orders in their order, their items by name."""
    rows: dict[str, dict[str, Any]] = {}
    items: dict[str, dict[str, int]] = {}
    for line in found.mappings():
        row = dict(line)
        sku, quantity = row.pop("sku"), row.pop("quantity")
        rows[row["order_id"]] = row
        items.setdefault(row["order_id"], {})[sku] = quantity
    return [
        Order(items=MappingProxyType(dict(sorted(items[order_id].items()))), **row)
        for order_id, row in rows.items()
    ]


def _newest_first(some: FromClause) -> tuple[UnaryExpression[Any], ...]:
    return some.c.placed_at.desc(), some.c.order_id.desc()


@cache
def _prices(*, is_sqlite: bool) -> Select[Any]:
    wanted = select(products.c.sku, products.c.unit_price)
    return wanted.where(bulk.among(products.c.sku, is_sqlite=is_sqlite))


def _is_at(status: str | None) -> tuple[ColumnElement[bool], ...]:
    """Whether that status is the furthest that an order has come; see `Order.status`."""
    if status is None:
        return ()
    later = STATUSES[STATUSES.index(status) + 1 :]
    return (
        orders.c[f"{status}_at"].is_not(None),
        and_(True, *(orders.c[f"{each}_at"].is_(None) for each in later)),  # noqa: FBT003 - and_() wants a first
    )
