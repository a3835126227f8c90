"""A table with a column of each type, and its rows as objects."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Column, Integer, MetaData, Table, Text, Uuid, select

from shared.storage.columns import MoneyAmount, UtcTime
from shared.storage.database import Database

metadata = MetaData()
jars = Table(
    "jars",
    metadata,
    Column("label", Text, primary_key=True),
    Column("coins", Integer, nullable=False, server_default="0"),
    Column("maker", Uuid, nullable=True),
    Column("worth", MoneyAmount, nullable=True),
    Column("opened_at", UtcTime, nullable=True),
    Column("contents", JSON, nullable=False, server_default="{}"),
)

FULL: dict[str, Any] = {
    "label": "a",
    "coins": 3,
    "maker": UUID("019ab000-0000-7000-8000-000000000001"),
    "worth": Decimal("1.50"),
    "opened_at": datetime(2026, 11, 24, 12, 30, tzinfo=UTC),
    "contents": {"coins": ["penny", None]},
}
EMPTY: dict[str, Any] = {
    "label": 'b"{},\\\n€',
    "coins": 0,
    "maker": None,
    "worth": None,
    "opened_at": None,
    "contents": {},
}


@dataclass
class Jar:
    """A row of `jars`."""

    label: str
    coins: int = 0
    maker: UUID | None = None
    worth: Decimal | None = None
    opened_at: datetime | None = None
    contents: Any = None


def all_jars(database: Database) -> list[dict[str, Any]]:
    """All rows, by label."""
    with database.read() as connection:
        rows = connection.execute(select(jars).order_by(jars.c.label)).mappings()
        return [dict(row) for row in rows]


def coins(database: Database) -> dict[str, int]:
    """The number of coins in each jar."""
    return {jar["label"]: jar["coins"] for jar in all_jars(database)}
