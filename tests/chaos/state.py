"""The state that invariants are checked against: all databases, and what the broker holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Table, select

from services.analytics.tables import facts
from services.email.tables import sent_mails
from services.inventory.tables import products, reservations
from services.loyalty.tables import awards
from services.orders.tables import order_lines, orders
from services.shipping.tables import shipments
from shared.errors import ConflictingEvent, ForgedEvent
from shared.storage.database import Database
from shared.storage.tables import failures, inbox, outbox
from shop import registry

Row = Mapping[str, Any]

INITIAL_STOCK = {"product-1": 10_000, "product-2": 5_000, "product-3": 5}
"""Stock by product after set-up."""


NOT_BELIEVED = frozenset({ForgedEvent.__name__, ConflictingEvent.__name__})
"""The errors of messages that are not what they claim to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerContents:
    """What the broker holds once all work is done.

    Attributes:
        dead: event ids in each service's dead queue, duplicates included.
        history: event ids in the history.
        left: messages that are ready, unacknowledged or delayed, a phrase for each queue.
        shown_applied: (service, event id) of dead letters that `shop dead show` shows as applied.
    """

    dead: Mapping[str, Sequence[str]] = field(default_factory=dict)
    history: frozenset[str] = frozenset()
    left: Sequence[str] = ()
    shown_applied: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lie:
    """A message that a service published and that no other service may believe.

    Attributes:
        topic: its routing key.
        recorded_as: the id under which each service that receives it records its failure.
        error: the class of that failure.
    """

    topic: str
    recorded_as: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What customers, tests and the mail server did.

    Attributes:
        confirmed: ids of orders that were confirmed to a customer.
        unprocessable: topic by message id of messages that no outbox published.
        sent_to_one: service by message id of messages that were sent to one service only.
        lies: the forged messages, by message id.
        deleted: (service, message id) of dead letters that were deleted with their queue.
        restocked: stock by product that was added.
        mails: Message-IDs that the mail server accepted, duplicates included; None if not known.
        limited: services with so few attempts that lost connections can use them up.
    """

    confirmed: frozenset[str] = frozenset()
    unprocessable: Mapping[str, str] = field(default_factory=dict)
    sent_to_one: Mapping[str, str] = field(default_factory=dict)
    lies: Mapping[str, Lie] = field(default_factory=dict)
    deleted: frozenset[tuple[str, str]] = frozenset()
    restocked: Mapping[str, int] = field(default_factory=dict)
    mails: Sequence[str] | None = None
    limited: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEvent:
    """An event in a service's outbox."""

    event_id: str
    service: str
    topic: str
    type: str
    subject: str
    is_sent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemState:
    """All that the invariants are checked against.

    Attributes:
        topics: topics that each service subscribes to.
        inbox: outcome by event id, for each service.
        refused: error by recorded id of the messages that were not believed, for each service.
        facts: event ids that analytics counted; `revenue` is the sum of their amounts.
    """

    broker: BrokerContents
    context: RunContext
    topics: Mapping[str, frozenset[str]]
    outbox: Sequence[OutboxEvent]
    inbox: Mapping[str, Mapping[str, str]]
    refused: Mapping[str, Mapping[str, str]]
    orders: Mapping[str, Row]
    lines: Mapping[str, Mapping[str, int]]
    products: Mapping[str, Row]
    reservations: Mapping[str, Row]
    shipments: Mapping[str, Row]
    awards: Mapping[str, Row]
    sent_mails: Sequence[Row]
    facts: frozenset[str]
    revenue: Decimal


def read_state(
    databases: Mapping[str, Database], broker: BrokerContents, context: RunContext | None = None
) -> SystemState:
    """Read every service's database."""
    rows = {name: _read(database, _TABLES[name]) for name, database in databases.items()}
    lines: dict[str, dict[str, int]] = {}
    for line in rows["orders"]["order_lines"]:
        lines.setdefault(line["order_id"], {})[line["sku"]] = line["quantity"]
    counted = rows["analytics"]["facts"]
    return SystemState(
        broker=broker,
        context=context or RunContext(),
        topics={each.name: each.topics for each in registry.all_services()},
        outbox=[
            _outbox_event(name, row) for name, found in rows.items() for row in found["outbox"]
        ],
        inbox={
            name: {str(row["event_id"]): row["outcome"] for row in found["inbox"]}
            for name, found in rows.items()
        },
        refused={
            name: {
                row["event_id"]: row["error"]
                for row in found["failures"]
                if row["error"] in NOT_BELIEVED
            }
            for name, found in rows.items()
        },
        orders=_by("order_id", rows["orders"]["orders"]),
        lines=lines,
        products=_by("sku", rows["inventory"]["products"]),
        reservations=_by("order_id", rows["inventory"]["reservations"]),
        shipments=_by("order_id", rows["shipping"]["shipments"]),
        awards=_by("order_id", rows["loyalty"]["awards"]),
        sent_mails=rows["email"]["sent_mails"],
        facts=frozenset(str(row["event_id"]) for row in counted),
        revenue=sum((row["amount"] or Decimal(0) for row in counted), Decimal(0)),
    )


_TABLES: dict[str, tuple[Table, ...]] = {
    "orders": (orders, order_lines),
    "inventory": (products, reservations),
    "email": (sent_mails,),
    "shipping": (shipments,),
    "loyalty": (awards,),
    "analytics": (facts,),
}


def _read(database: Database, tables: Sequence[Table]) -> dict[str, list[Row]]:
    with database.read() as connection:
        return {each.name: _all(connection, each) for each in (inbox, outbox, failures, *tables)}


def _all(connection: Connection, table: Table) -> list[Row]:
    return [dict(row) for row in connection.execute(select(table)).mappings()]


def _by(key: str, rows: Sequence[Row]) -> dict[str, Row]:
    return {row[key]: row for row in rows}


def _outbox_event(service: str, row: Row) -> OutboxEvent:
    return OutboxEvent(
        event_id=str(row["event_id"]),
        service=service,
        topic=row["topic"],
        type=row["event_type"],
        subject=row["subject"] or "",
        is_sent=row["sent_at"] is not None and row["refused"] is None,
    )
