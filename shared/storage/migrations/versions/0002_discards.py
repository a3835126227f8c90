"""The record of dead letters that a person discarded."""

import sqlalchemy as sa
from alembic import op

from shared.storage.columns import UtcTime
from shared.storage.tables import DatabaseClock

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "discards",
        sa.Column("letter_id", sa.Text, primary_key=True),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("discarded_by", sa.Text, nullable=False),
        sa.Column("discarded_at", UtcTime, nullable=False, server_default=DatabaseClock()),
    )
