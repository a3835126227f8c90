"""The runtime's tables: inbox, outbox and failures."""

import sqlalchemy as sa
from alembic import op

from shared.storage.columns import SerialNumber, UtcTime
from shared.storage.tables import DatabaseClock

revision = "0001"
down_revision = None

WAITING = sa.text("sent_at IS NULL AND refused IS NULL")
SENT = sa.text("sent_at IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "inbox",
        sa.Column("event_id", sa.Uuid, primary_key=True),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=True),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("occurred_at", UtcTime, nullable=False),
        sa.Column("handled_at", UtcTime, nullable=False, server_default=DatabaseClock()),
    )
    op.create_table(
        "outbox",
        sa.Column("number", SerialNumber, primary_key=True),
        sa.Column("event_id", sa.Uuid, nullable=False, unique=True),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=True),
        sa.Column("correlation_id", sa.Uuid, nullable=True),
        sa.Column("occurred_at", UtcTime, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", UtcTime, nullable=False, server_default=DatabaseClock()),
        sa.Column("sent_at", UtcTime, nullable=True),
        sa.Column("refused", sa.Text, nullable=True),
    )
    op.create_index(
        "outbox_waiting", "outbox", ["number"], postgresql_where=WAITING, sqlite_where=WAITING
    )
    op.create_index(
        "outbox_by_sent", "outbox", ["sent_at"], postgresql_where=SENT, sqlite_where=SENT
    )
    op.create_table(
        "failures",
        sa.Column("number", SerialNumber, primary_key=True),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=True),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("replays", sa.Integer, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("traceback", sa.Text, nullable=False),
        sa.Column("failed_at", UtcTime, nullable=False, server_default=DatabaseClock()),
    )
    op.create_index("failures_by_event", "failures", ["event_id"])
    op.create_index("failures_by_time", "failures", ["failed_at"])
