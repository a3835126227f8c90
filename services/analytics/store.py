"""What the analytics service keeps: a row for each event, and one for each line of an order.

Nothing is ever changed, and numbers are worked out when they are asked for. So the report is a
function of the set of events: neither their order, nor how they were batched, nor a second copy
makes a difference, and replaying the history rebuilds it.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Table, select

from services.analytics.tables import facts, units
from shared.events import DomainEvent, OrderCancelled, OrderPlaced, PaymentReceived
from shared.storage import bulk
from shared.storage.database import Database
from shared.storage.event_audit import Envelope
from shared.storage.unit_of_work import Store

Row = dict[str, Any]


class AnalyticsStore(Store):
    """Events are kept back, and written together at the end of the batch."""

    def __init__(self, connection: Connection, database: Database) -> None:
        super().__init__(connection, database)
        self._facts: list[Row] = []
        self._units: list[Row] = []

    def keep(self, event: DomainEvent) -> None:
        """Keep an event's envelope, and of its data what is counted."""
        self._facts.append(
            {
                "event_id": event.event_id,
                "type": event.type,
                "subject": event.subject,
                "occurred_at": event.occurred_at,
                "day": event.occurred_at.astimezone(UTC).date(),
                "correlation_id": event.correlation_id,
                "causation_id": event.causation_id,
                "amount": _revenue(event),
            }
        )
        self._units += (
            {"event_id": event.event_id, "sku": sku, "quantity": quantity}
            for sku, quantity in _ordered(event).items()
        )

    def envelopes(self, subject: str) -> list[Envelope]:
        """The events about an order, oldest first."""
        columns = facts.c.event_id, facts.c.type, facts.c.occurred_at, facts.c.causation_id
        wanted = select(*columns).where(facts.c.subject == subject).order_by(facts.c.occurred_at)
        return [Envelope(*row) for row in self.connection.execute(wanted)]

    def flush(self) -> None:
        """Write what was kept back."""
        self._write(facts, self._facts)
        self._write(units, self._units)
        self._facts, self._units = [], []

    def _write(self, table: Table, rows: Sequence[Row]) -> None:
        if rows:
            bulk.insert_many(self.connection, table, rows, how=bulk.skip_existing)


def _revenue(event: DomainEvent) -> Decimal | None:
    match event:
        case PaymentReceived():
            return event.amount
        case OrderCancelled():
            return -event.refunded_amount
        case _:
            return None


def _ordered(event: DomainEvent) -> Mapping[str, int]:
    return event.items if isinstance(event, OrderPlaced) else {}
