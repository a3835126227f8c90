"""The tables of the inventory service."""

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, MetaData, Table, Text

metadata = MetaData()

products = Table(
    "products",
    metadata,
    Column("sku", Text, primary_key=True),
    Column("available", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    CheckConstraint("available >= 0", name="available_not_negative"),
    CheckConstraint("reserved >= 0", name="reserved_not_negative"),
)

reservations = Table(
    "reservations",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("state", Text, nullable=False, server_default="new"),
    Column("items", JSON, nullable=False, server_default="{}"),
)
