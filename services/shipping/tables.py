"""The tables of the shipping service."""

from sqlalchemy import Column, MetaData, Table, Text

from shared.storage.columns import UtcTime

metadata = MetaData()

shipments = Table(
    "shipments",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("address", Text, nullable=True),
    Column("opened_at", UtcTime, nullable=True),
    Column("paid_at", UtcTime, nullable=True),
    Column("reserved_at", UtcTime, nullable=True),
    Column("voided_at", UtcTime, nullable=True),
    Column("carrier", Text, nullable=True),
    Column("tracking_number", Text, nullable=True),
    Column("shipped_at", UtcTime, nullable=True),
)
"""Its indexes are of an expression: see its migrations."""
