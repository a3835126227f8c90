"""The tables of the email service."""

from sqlalchemy import Column, Index, MetaData, Table, Text

from shared.storage.columns import UtcTime

metadata = MetaData()

customers = Table(
    "customers",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("address", Text, nullable=False),
    Column("currency", Text, nullable=False),
)
"""Customers by order; `currency` is that of the order's amounts."""

sent_mails = Table(
    "sent_mails",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("to", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("sent_at", UtcTime, nullable=False),
    Index("sent_mails_by_order", "order_id"),
    Index("sent_mails_by_time", "sent_at", "message_id"),
)
