"""What the events add up to.

Orders and money are counted from the versions of events that this code knows; an event of another
type or version is counted under its own type. Days are those of UTC, by when an event occurred.
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
    """The numbers of the shop.

    Returns:
        `revenue` is what was received less what was given back, in the shop's currency; `units`
        what was ordered, by product, cancelled since or not; `placed_to_shipped` the seconds from
        an order's placing to its shipping, None where nothing was shipped.
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
    counted = select(facts.c.type, func.count()).group_by(facts.c.type).order_by(facts.c.type)
    return {str(row[0]): row[1] for row in connection.execute(counted)}


def _units(connection: Connection) -> dict[str, int]:
    ordered = select(units.c.sku, func.sum(units.c.quantity)).group_by(units.c.sku)
    return {str(row[0]): int(row[1]) for row in connection.execute(ordered.order_by(units.c.sku))}


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
    took = Milliseconds(shipped.c.occurred_at) - Milliseconds(placed.c.occurred_at)
    orders = (
        select(
            took.label("took"),
            func.row_number().over(order_by=took).label("place"),
            func.count().over().label("of"),
        )
        .join_from(placed, shipped, placed.c.subject == shipped.c.subject)
        .where(placed.c.type == PLACED, shipped.c.type == SHIPPED)
        .subquery()
    )
    # The median by its place, one or two of them: SQLite has no function for it.
    in_the_middle = (orders.c.place * 2 - orders.c.of).between(0, 2)
    average, median = func.avg(orders.c.took), func.avg(orders.c.took).filter(in_the_middle)
    row = connection.execute(select(func.count(orders.c.took), average, median)).one()
    return {
        "orders": row[0],
        "average_seconds": _seconds(row[1]),
        "median_seconds": _seconds(row[2]),
    }


def _seconds(milliseconds: Decimal | float | None) -> float | None:
    return None if milliseconds is None else round(float(milliseconds) / 1000, 3)


def _money(amount: Decimal | None) -> Decimal:
    return amount if amount is not None else Decimal("0.00")
