"""The tables of the analytics service; they hold no personal data."""

from sqlalchemy import Column, Date, Index, Integer, MetaData, Table, Text, Uuid

from shared.storage.columns import MoneyAmount, UtcTime

metadata = MetaData()

facts = Table(
    "facts",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column("type", Text, nullable=False),
    Column("subject", Text, nullable=True),
    Column("occurred_at", UtcTime, nullable=False),
    Column("day", Date, nullable=False),
    Column("correlation_id", Uuid, nullable=True),
    Column("causation_id", Uuid, nullable=True),
    Column("amount", MoneyAmount, nullable=True),
    Index("facts_by_type", "type", "subject", "occurred_at"),
    Index("facts_by_day", "day", "type", "amount"),
    Index("facts_by_subject", "subject"),
)
"""Events: `day` is the date of `occurred_at` in UTC, `amount` is added to the revenue."""

units = Table(
    "units",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column("sku", Text, primary_key=True),
    Column("quantity", Integer, nullable=False),
    Index("units_by_product", "sku", "quantity"),
)
"""Lines of placed orders."""
