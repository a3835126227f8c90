"""The analytics report: totals of orders, revenue, products, days and event types.

Orders and revenue come from the event versions that this code knows; events of other types and
versions are counted by type only. Days are in UTC, by when an event occurred.
"""

from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from services.analytics.tables import facts, units
from shared.events import OrderCancelled, OrderPlaced, OrderShipped, wire_type

PLACED = wire_type(OrderPlaced)
CANCELLED = wire_type(OrderCancelled)
SHIPPED = wire_type(OrderShipped)


class Milliseconds(GenericFunction[int]):
    """A time as milliseconds since 1970."""

    type = BigInteger()
    inherit_cache = True


@compiles(Milliseconds, "postgresql")
def _of_postgresql(element: Milliseconds, compiler: SQLCompiler, **kwargs: Any) -> str:  # noqa: ANN401 - the compiler's own
    moment = compiler.process(element.clauses, **kwargs)
    return f"CAST(ROUND(EXTRACT(EPOCH FROM {moment}) * 1000) AS BIGINT)"


@compiles(Milliseconds, "sqlite")
def _of_sqlite(element: Milliseconds, compiler: SQLCompiler, **kwargs: Any) -> str:  # noqa: ANN401 - the compiler's own
    moment = compiler.process(element.clauses, **kwargs)
    return f"CAST(ROUND((julianday({moment}) - 2440587.5) * 86400000) AS INTEGER)"


def report(connection: Connection) -> dict[str, Any]:
    """Compute the report.

    Returns:
        Among others: `revenue`, payments less refunds, in the shop's currency; `units`, pieces
        ordered by product, including cancelled orders; `placed_to_shipped`, seconds between the
        placing and the shipping of an order, None if nothing was shipped.
    """
    events = _events(connection)
    return {
        "orders_placed": events.get(PLACED, 0),
        "orders_cancelled": events.get(CANCELLED, 0),
        "revenue": _money(connection.scalar(select(func.sum(facts.c.amount)))),
        "units": _units(connection),
        "events": events,
        "days": _days(connection),
        "placed_to_shipped": _placed_to_shipped(connection),
    }


def _events(connection: Connection) -> dict[str, int]:
    by_type = select(facts.c.type, func.count().label("number")).group_by(facts.c.type)
    return {row.type: row.number for row in connection.execute(by_type.order_by(facts.c.type))}


def _units(connection: Connection) -> dict[str, int]:
    by_sku = select(units.c.sku, func.sum(units.c.quantity)).group_by(units.c.sku)
    return {sku: int(total) for sku, total in connection.execute(by_sku.order_by(units.c.sku))}


def _days(connection: Connection) -> list[dict[str, Any]]:
    def count(event_type: str) -> ColumnElement[int]:
        return func.count().filter(facts.c.type == event_type)

    by_day = (
        select(
            facts.c.day,
            count(PLACED).label("orders_placed"),
            count(CANCELLED).label("orders_cancelled"),
            count(SHIPPED).label("orders_shipped"),
            func.sum(facts.c.amount).label("revenue"),
            func.count().label("events"),
        )
        .group_by(facts.c.day)
        .order_by(facts.c.day)
    )
    rows = connection.execute(by_day).mappings()
    return [{**row, "revenue": _money(row["revenue"])} for row in rows]


def _placed_to_shipped(connection: Connection) -> dict[str, Any]:
    placed, shipped = facts.alias("placed"), facts.alias("shipped")
    duration = Milliseconds(shipped.c.occurred_at) - Milliseconds(placed.c.occurred_at)
    orders = (
        select(
            duration.label("duration"),
            func.row_number().over(order_by=duration).label("rank"),
            func.count().over().label("total"),
        )
        .join_from(placed, shipped, placed.c.subject == shipped.c.subject)
        .where(placed.c.type == PLACED, shipped.c.type == SHIPPED)
        .subquery()
    )
    # SQLite has no function for the median, so it is the average of the one or two middle rows.
    is_middle = (orders.c.rank * 2 - orders.c.total).between(0, 2)
    average = func.avg(orders.c.duration)
    statement = select(func.count(orders.c.duration), average, average.filter(is_middle))
    count, average_ms, median_ms = connection.execute(statement).one()
    return {
        "orders": count,
        "average_seconds": _seconds(average_ms),
        "median_seconds": _seconds(median_ms),
    }


def _seconds(milliseconds: Decimal | float | None) -> float | None:
    return None if milliseconds is None else round(float(milliseconds) / 1000, 3)


def _money(amount: Decimal | None) -> Decimal:
    return amount if amount is not None else Decimal("0.00")
