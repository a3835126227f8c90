"""What the laws are judged by: the rows of every service's database, and what the broker holds."""

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
from shared.storage.database import Database
from shared.storage.tables import inbox, outbox
from shop import registry

Row = Mapping[str, Any]

TO_BEGIN_WITH = {"product-1": 100, "product-2": 50, "product-3": 5}
"""Pieces in stock after set-up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the broker holds when all is quiet.

    Attributes:
        dead: event ids in each service's dead queue, copies and all.
        history: event ids in the record of all events.
        left: what is ready, unacknowledged or delayed, a phrase each.
        shown_applied: (service, event id) of dead letters that `shop dead show` calls applied.
    """

    dead: Mapping[str, Sequence[str]] = field(default_factory=dict)
    history: frozenset[str] = frozenset()
    left: Sequence[str] = ()
    shown_applied: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What happened besides the services' doing.

    Attributes:
        told: orders that a customer was told are placed.
        strangers: topic by id of what was published by nobody's outbox.
        letters: service by id of what was sent to one service alone.
        restocked: pieces by product that were added.
        mails: Message-IDs that the mail server took, copies and all; None where nobody looked.
        limited: services in which so few attempts are all that lost connections use them up.
    """

    told: frozenset[str] = frozenset()
    strangers: Mapping[str, str] = field(default_factory=dict)
    letters: Mapping[str, str] = field(default_factory=dict)
    restocked: Mapping[str, int] = field(default_factory=dict)
    mails: Sequence[str] | None = None
    limited: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An event in a service's outbox."""

    event_id: str
    service: str
    topic: str
    type: str
    subject: str
    is_sent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that the laws look at.

    Attributes:
        topics: what each service subscribed to.
        inbox: outcome by event id, for each service.
        facts: ids that analytics counted; `revenue` is their sum.
    """

    held: Held
    world: World
    topics: Mapping[str, frozenset[str]]
    said: Sequence[Said]
    inbox: Mapping[str, Mapping[str, str]]
    orders: Mapping[str, Row]
    lines: Mapping[str, Mapping[str, int]]
    products: Mapping[str, Row]
    reservations: Mapping[str, Row]
    shipments: Mapping[str, Row]
    awards: Mapping[str, Row]
    sent_mails: Sequence[Row]
    facts: frozenset[str]
    revenue: Decimal


def gathered(databases: Mapping[str, Database], held: Held, world: World | None = None) -> Evidence:
    """Look into every service's database."""
    rows = {name: _read(database, _TABLES[name]) for name, database in databases.items()}
    lines: dict[str, dict[str, int]] = {}
    for line in rows["orders"]["order_lines"]:
        lines.setdefault(line["order_id"], {})[line["sku"]] = line["quantity"]
    counted = rows["analytics"]["facts"]
    return Evidence(
        held=held,
        world=world or World(),
        topics={each.name: each.topics for each in registry.all_services()},
        said=[_said(name, row) for name, found in rows.items() for row in found["outbox"]],
        inbox={
            name: {str(row["event_id"]): row["outcome"] for row in found["inbox"]}
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
        return {each.name: _all(connection, each) for each in (inbox, outbox, *tables)}


def _all(connection: Connection, table: Table) -> list[Row]:
    return [dict(row) for row in connection.execute(select(table)).mappings()]


def _by(key: str, rows: Sequence[Row]) -> dict[str, Row]:
    return {row[key]: row for row in rows}


def _said(service: str, row: Row) -> Said:
    return Said(
        event_id=str(row["event_id"]),
        service=service,
        topic=row["topic"],
        type=row["event_type"],
        subject=row["subject"] or "",
        is_sent=row["sent_at"] is not None and row["refused"] is None,
    )
