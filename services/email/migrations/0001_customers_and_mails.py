"""Creates the tables of customers by order and of sent emails."""

import sqlalchemy as sa
from alembic import op

from shared.storage.columns import UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "customers",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
    )
    op.create_table(
        "sent_mails",
        sa.Column("message_id", sa.Text, primary_key=True),
        sa.Column("order_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("to", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("sent_at", UtcTime, nullable=False),
    )
    op.create_index("sent_mails_by_order", "sent_mails", ["order_id"])
    op.create_index("sent_mails_by_time", "sent_mails", ["sent_at", "message_id"])
