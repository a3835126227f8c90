"""The tables of the orders service."""

from sqlalchemy import Column, ForeignKey, Index, Integer, MetaData, Table, Text, Uuid

from shared.storage.columns import MoneyAmount, UtcTime

metadata = MetaData()

products = Table(
    "products",
    metadata,
    Column("sku", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("unit_price", MoneyAmount, nullable=False),
)

orders = Table(
    "orders",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("customer_email", Text, nullable=False),
    Column("shipping_address", Text, nullable=False),
    Column("total_amount", MoneyAmount, nullable=False),
    Column("currency", Text, nullable=False),
    Column("correlation_id", Uuid, nullable=False),
    Column("payment_method", Text, nullable=True),
    Column("refunded_amount", MoneyAmount, nullable=True),
    Column("cancel_reason", Text, nullable=True),
    Column("carrier", Text, nullable=True),
    Column("tracking_number", Text, nullable=True),
    Column("placed_at", UtcTime, nullable=False),
    Column("reserved_at", UtcTime, nullable=True),
    Column("paid_at", UtcTime, nullable=True),
    Column("shipped_at", UtcTime, nullable=True),
    Column("cancelled_at", UtcTime, nullable=True),
    Index("orders_by_time", "placed_at", "order_id"),
    # Their migration makes each partial: it has the orders with this status.
    Index("orders_placed", "placed_at", "order_id"),
    Index("orders_reserved", "placed_at", "order_id"),
    Index("orders_paid", "placed_at", "order_id"),
    Index("orders_shipped", "placed_at", "order_id"),
    Index("orders_cancelled", "placed_at", "order_id"),
)

order_lines = Table(
    "order_lines",
    metadata,
    Column("order_id", Text, ForeignKey("orders.order_id"), primary_key=True),
    Column("sku", Text, ForeignKey("products.sku"), primary_key=True),
    Column("quantity", Integer, nullable=False),
    # A copy of the price at the time of the order; the price list may change.
    Column("unit_price", MoneyAmount, nullable=False),
)
