"""What the service's processes leave for the doctor: their gateway, and why they wait."""

import sqlalchemy as sa
from alembic import op

from shared.storage.columns import UtcTime

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "service_state",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("gateway", sa.Text, nullable=True),
        sa.Column("paused_since", UtcTime, nullable=True),
        sa.Column("paused_for", sa.Text, nullable=True),
        sa.Column("seen_at", UtcTime, nullable=True),
    )
