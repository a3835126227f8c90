"""Creates the tables of products, with their initial stock, and of reservations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

INITIAL_STOCK = {"product-1": 10_000, "product-2": 5_000, "product-3": 5}
"""Of a new database; an existing one keeps its stock."""


def upgrade() -> None:
    products = op.create_table(
        "products",
        sa.Column("sku", sa.Text, primary_key=True),
        sa.Column("available", sa.BigInteger, nullable=False),
        sa.Column("reserved", sa.BigInteger, nullable=False),
        sa.CheckConstraint("available >= 0", name="available_not_negative"),
        sa.CheckConstraint("reserved >= 0", name="reserved_not_negative"),
    )
    op.create_table(
        "reservations",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False, server_default="new"),
        sa.Column("items", sa.JSON, nullable=False, server_default="{}"),
    )
    op.bulk_insert(
        products,
        [{"sku": sku, "available": pieces, "reserved": 0} for sku, pieces in INITIAL_STOCK.items()],
    )
