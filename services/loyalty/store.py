"""Awards of points in the loyalty database.

An order's award and takeback are one row, from which the ledger's entries are read. So the ledger
does not depend on the order of events: the entries of a cancelled order always add up to zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, literal, select, union_all

from services.loyalty.tables import awards
from shared.events import DomainEvent, OrderEvent
from shared.storage.database import Database
from shared.storage.locked_rows import LockedRows
from shared.storage.unit_of_work import Store


@dataclass
class Award:
    """The points of an order; a field is None until its event has arrived."""

    order_id: str
    customer_email: str | None
    points: int | None
    awarded_at: datetime | None
    taken_back_at: datetime | None


class LoyaltyStore(Store):
    """Awards, within one transaction."""

    def __init__(self, connection: Connection, database: Database) -> None:
        super().__init__(connection, database)
        self.awards = LockedRows(connection, awards, Award)

    def prepare(self, events: Sequence[DomainEvent]) -> None:
        """Lock and read the awards of a batch's orders."""
        orders = [event for event in events if isinstance(event, OrderEvent)]
        self.awards.lock_or_insert(order.order_id for order in orders)

    def flush(self) -> None:
        """Write the rows that changed."""
        self.awards.write()

    def balance(self, customer_email: str) -> int:
        """The points of a customer; 0 for an unknown one."""
        statement = select(func.coalesce(func.sum(awards.c.points), 0)).where(
            awards.c.customer_email == customer_email, awards.c.taken_back_at.is_(None)
        )
        return int(self.connection.execute(statement).scalar_one())

    def ledger(self, customer_email: str) -> list[dict[str, Any]]:
        """The entries of a customer, newest first; the points of a takeback are negative."""
        entries = union_all(
            _entries("award", awards.c.points, awards.c.awarded_at),
            _entries("takeback", -awards.c.points, awards.c.taken_back_at),
        ).subquery()
        statement = (
            select(entries)
            .where(entries.c.customer_email == customer_email)
            .order_by(entries.c.occurred_at.desc(), entries.c.order_id, entries.c.kind.desc())
        )
        return [dict(row) for row in self.connection.execute(statement).mappings()]


def _entries(kind: str, points: Any, occurred_at: Any) -> Any:  # noqa: ANN401 - SQL expressions
    return select(
        awards.c.order_id,
        literal(kind).label("kind"),
        points.label("points"),
        awards.c.customer_email,
        occurred_at.label("occurred_at"),
    ).where(occurred_at.is_not(None))
