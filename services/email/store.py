"""What the email service keeps: who placed an order, and the mails that were sent."""

from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Executable, Select, Table, bindparam, select

from services.email.mails import Mail
from services.email.tables import customers, sent_mails
from shared.storage import bulk
from shared.storage.compiled import execute
from shared.storage.unit_of_work import Store


class Customer(NamedTuple):
    """Whom to write to about an order, and in which currency."""

    order_id: str
    address: str
    currency: str


class EmailStore(Store):
    """Customers by order, and mails by Message-ID."""

    def remember(self, customer: Customer) -> None:
        """Keep who placed an order."""
        bulk.insert_many(self.connection, customers, [customer._asdict()], how=_in_its_place)

    def customer_of(self, order_id: str) -> Customer | None:
        """Who placed an order; None as long as nobody told."""
        row = execute(self.connection, _customer(), {"of": order_id}).mappings().one_or_none()
        return Customer(**row) if row else None

    def record(self, mail: Mail) -> None:
        """Keep that a mail is sent now; a second copy of it takes the place of the first."""
        row = {
            "message_id": str(mail.message["Message-ID"]),
            "order_id": mail.order_id,
            "kind": mail.kind,
            "to": mail.to,
            "subject": str(mail.message["Subject"]),
            "sent_at": datetime.now(UTC),
        }
        bulk.insert_many(self.connection, sent_mails, [row], how=_in_its_place)

    def sent(self, *, order_id: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """The last mails sent, in the order of sending."""
        fields = sent_mails.c
        newest_first = (
            select(fields.order_id, fields.kind, fields.to, fields.subject, fields.sent_at)
            .order_by(fields.sent_at.desc(), fields.message_id.desc())
            .limit(limit)
        )
        if order_id is not None:
            newest_first = newest_first.where(fields.order_id == order_id)
        rows = self.connection.execute(newest_first).mappings().all()
        return [dict(row) for row in reversed(rows)]


def _in_its_place(table: Table, insert: bulk.Insert) -> Executable:
    """An INSERT that takes the place of the row that has the same key."""
    (key,) = table.primary_key.columns
    others = {each.name: insert.excluded[each.name] for each in table.columns if each is not key}
    return insert.on_conflict_do_update(index_elements=[key], set_=others)


@cache
def _customer() -> Select[Any]:
    columns = customers.c.order_id, customers.c.address, customers.c.currency
    return select(*columns).where(customers.c.order_id == bindparam("of"))
