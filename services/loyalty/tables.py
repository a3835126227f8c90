"""The tables of the loyalty service."""

from sqlalchemy import BigInteger, Column, Index, MetaData, Table, Text

from shared.storage.columns import UtcTime

metadata = MetaData()

awards = Table(
    "awards",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("customer_email", Text, nullable=True),
    Column("points", BigInteger, nullable=True),
    Column("awarded_at", UtcTime, nullable=True),
    Column("taken_back_at", UtcTime, nullable=True),
    Index("awards_by_customer", "customer_email"),
)
