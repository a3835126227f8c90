"""What is asked about a service: which events fail, its gateway, and why it waits."""

import sqlalchemy as sa
from alembic import op

from shared.storage.columns import UtcTime
from shared.storage.new_indexes import NewIndex

revision = "0007"
down_revision = "0006"

INDEXES = (NewIndex("failures_by_ending", "failures", "substr(event_id, length(event_id) - 5)"),)

# PostgreSQL writes a UUID with hyphens, SQLite has it without.
FAILING_NOW = """
    INSERT INTO retried_events (event_id)
    SELECT event_id FROM failures
    WHERE outcome = 'retried'
        AND number IN (SELECT max(number) FROM failures GROUP BY event_id)
        AND replace(event_id, '-', '')
            NOT IN (SELECT replace(CAST(event_id AS TEXT), '-', '') FROM inbox)
"""


def upgrade() -> None:
    for index in INDEXES:
        op.execute(index.create())
    op.create_table("retried_events", sa.Column("event_id", sa.Text, primary_key=True))
    op.execute(FAILING_NOW)
    op.create_table(
        "service_state",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("gateway", sa.Text, nullable=True),
        sa.Column("paused_since", UtcTime, nullable=True),
        sa.Column("paused_for", sa.Text, nullable=True),
        sa.Column("seen_at", UtcTime, nullable=True),
    )
