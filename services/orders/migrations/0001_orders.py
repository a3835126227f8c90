"""Creates the tables of products, with the initial price list, orders and order lines."""

from decimal import Decimal

import sqlalchemy as sa
from alembic import op

from shared.storage.columns import MoneyAmount, UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    products = op.create_table(
        "products",
        sa.Column("sku", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("unit_price", MoneyAmount, nullable=False),
    )
    op.bulk_insert(
        products,
        [
            {"sku": "product-1", "name": "Desk lamp", "unit_price": Decimal("49.99")},
            {"sku": "product-2", "name": "Paper clip", "unit_price": Decimal("0.01")},
            {"sku": "product-3", "name": "Fountain pen", "unit_price": Decimal("24.50")},
        ],
    )
    op.create_table(
        "orders",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("customer_email", sa.Text, nullable=False),
        sa.Column("shipping_address", sa.Text, nullable=False),
        sa.Column("total_amount", MoneyAmount, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("correlation_id", sa.Uuid, nullable=False),
        sa.Column("payment_method", sa.Text, nullable=True),
        sa.Column("refunded_amount", MoneyAmount, nullable=True),
        sa.Column("cancel_reason", sa.Text, nullable=True),
        sa.Column("carrier", sa.Text, nullable=True),
        sa.Column("tracking_number", sa.Text, nullable=True),
        sa.Column("placed_at", UtcTime, nullable=False),
        sa.Column("reserved_at", UtcTime, nullable=True),
        sa.Column("paid_at", UtcTime, nullable=True),
        sa.Column("shipped_at", UtcTime, nullable=True),
        sa.Column("cancelled_at", UtcTime, nullable=True),
    )
    op.create_index("orders_by_time", "orders", ["placed_at", "order_id"])
    op.create_table(
        "order_lines",
        sa.Column("order_id", sa.Text, sa.ForeignKey("orders.order_id"), primary_key=True),
        sa.Column("sku", sa.Text, sa.ForeignKey("products.sku"), primary_key=True),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("unit_price", MoneyAmount, nullable=False),
    )
