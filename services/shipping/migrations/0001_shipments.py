"""Creates the table of shipments, one row for each order."""

import sqlalchemy as sa
from alembic import op

from shared.storage.columns import UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "shipments",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("address", sa.Text, nullable=True),
        sa.Column("opened_at", UtcTime, nullable=True),
        sa.Column("paid_at", UtcTime, nullable=True),
        sa.Column("reserved_at", UtcTime, nullable=True),
        sa.Column("voided_at", UtcTime, nullable=True),
        sa.Column("carrier", sa.Text, nullable=True),
        sa.Column("tracking_number", sa.Text, nullable=True),
        sa.Column("shipped_at", UtcTime, nullable=True),
    )
