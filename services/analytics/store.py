"""Events and order lines in the analytics database: one row each.

Rows are inserted and never changed, and the report is computed from them. So it does not depend on
the order of events, on batches or on duplicates, and a rebuild gives the same report.
"""

from datetime import UTC
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select

from services.analytics.tables import facts, units
from shared.events import DomainEvent, OrderCancelled, OrderPlaced, PaymentReceived
from shared.messaging.identity import safe_id, safe_type
from shared.storage.database import Database
from shared.storage.event_audit import EventSummary
from shared.storage.unit_of_work import Store


class AnalyticsStore(Store):
    """Collects events, and inserts them together when it is flushed."""

    def __init__(self, connection: Connection, database: Database) -> None:
        super().__init__(connection, database)
        self._facts: list[dict[str, Any]] = []
        self._units: list[dict[str, Any]] = []

    def add(self, event: DomainEvent) -> None:
        """Store an event's envelope and the numbers that the report needs; `flush` writes them."""
        self._facts.append(
            {
                "event_id": event.event_id,
                "type": safe_type(event.type),
                "subject": None if event.subject is None else safe_id(event.subject),
                "occurred_at": event.occurred_at,
                "day": event.occurred_at.astimezone(UTC).date(),
                "correlation_id": event.correlation_id,
                "causation_id": event.causation_id,
                "amount": _revenue(event),
            }
        )
        if isinstance(event, OrderPlaced):
            self._units += (
                {"event_id": event.event_id, "sku": sku, "quantity": quantity}
                for sku, quantity in event.items.items()
            )

    def flush(self) -> None:
        """Insert the events that were added; those of an earlier transaction are skipped."""
        for table, rows in ((facts, self._facts), (units, self._units)):
            if rows:
                self.connection.execute(self.insert(table).on_conflict_do_nothing(), rows)
        self._facts, self._units = [], []

    def envelopes(self, subject: str) -> list[EventSummary]:
        """The events about an order, oldest first."""
        columns = facts.c.event_id, facts.c.type, facts.c.occurred_at, facts.c.causation_id
        statement = select(*columns).where(facts.c.subject == subject)
        rows = self.connection.execute(statement.order_by(facts.c.occurred_at))
        return [EventSummary(*row) for row in rows]


def _revenue(event: DomainEvent) -> Decimal | None:
    match event:
        case PaymentReceived():
            return event.amount
        case OrderCancelled():
            return -event.refunded_amount
        case _:
            return None
