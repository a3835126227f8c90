"""Customers and sent mails in the email database."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Table, select

from services.email.mails import Mail
from services.email.tables import customers, sent_mails
from shared.storage.unit_of_work import Store


class Customer(NamedTuple):
    """The mail address of an order's customer, and the currency of the order's amounts."""

    order_id: str
    address: str
    currency: str


class EmailStore(Store):
    """Customers by order, and mails by Message-ID."""

    def remember(self, customer: Customer) -> None:
        """Store the customer of an order."""
        self._upsert(customers, customer._asdict())

    def customer_of(self, order_id: str) -> Customer | None:
        """The customer of an order; None until its OrderPlaced has been handled."""
        columns = customers.c.order_id, customers.c.address, customers.c.currency
        statement = select(*columns).where(customers.c.order_id == order_id)
        row = self.connection.execute(statement).one_or_none()
        return Customer(*row) if row else None

    def record(self, mail: Mail) -> None:
        """Store a mail as sent now; a second copy replaces the first."""
        row = {
            "message_id": str(mail.message["Message-ID"]),
            "order_id": mail.order_id,
            "kind": mail.kind,
            "to": mail.to,
            "subject": str(mail.message["Subject"]),
            "sent_at": datetime.now(UTC),
        }
        self._upsert(sent_mails, row)

    def sent(self, *, order_id: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """The latest mails, newest first."""
        columns = sent_mails.c
        newest_first = (
            select(columns.order_id, columns.kind, columns.to, columns.subject, columns.sent_at)
            .order_by(columns.sent_at.desc(), columns.message_id.desc())
            .limit(limit)
        )
        if order_id is not None:
            newest_first = newest_first.where(columns.order_id == order_id)
        return [dict(row) for row in self.connection.execute(newest_first).mappings()]

    def _upsert(self, table: Table, row: dict[str, Any]) -> None:
        insert = self.insert(table)
        values = {name: insert.excluded[name] for name in row}
        upsert = insert.on_conflict_do_update(index_elements=table.primary_key, set_=values)
        self.connection.execute(upsert, row)
