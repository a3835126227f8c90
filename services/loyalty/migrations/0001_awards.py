"""Creates the table of awards, one row for each order."""

import sqlalchemy as sa
from alembic import op

from shared.storage.columns import UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "awards",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("customer_email", sa.Text, nullable=True),
        sa.Column("points", sa.BigInteger, nullable=True),
        sa.Column("awarded_at", UtcTime, nullable=True),
        sa.Column("taken_back_at", UtcTime, nullable=True),
    )
    op.create_index("awards_by_customer", "awards", ["customer_email"])
