"""Creates the tables of events and of the units in orders."""

import sqlalchemy as sa
from alembic import op

from shared.storage.columns import MoneyAmount, UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "facts",
        sa.Column("event_id", sa.Uuid, primary_key=True),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=True),
        sa.Column("occurred_at", UtcTime, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("correlation_id", sa.Uuid, nullable=True),
        sa.Column("causation_id", sa.Uuid, nullable=True),
        sa.Column("amount", MoneyAmount, nullable=True),
    )
    op.create_index("facts_by_type", "facts", ["type", "subject", "occurred_at"])
    op.create_index("facts_by_day", "facts", ["day", "type", "amount"])
    op.create_table(
        "units",
        sa.Column("event_id", sa.Uuid, primary_key=True),
        sa.Column("sku", sa.Text, primary_key=True),
        sa.Column("quantity", sa.Integer, nullable=False),
    )
    op.create_index("units_by_product", "units", ["sku", "quantity"])
