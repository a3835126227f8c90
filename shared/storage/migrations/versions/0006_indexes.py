"""Indexes for pruning, for an order's timeline, and for rejected and dead events."""

from alembic import op

from shared.storage.new_indexes import NewIndex

revision = "0006"
down_revision = "0005"

INDEXES = (
    NewIndex("inbox_by_occurred", "inbox", "occurred_at"),
    NewIndex("inbox_by_subject", "inbox", "subject"),
    NewIndex("outbox_by_subject", "outbox", "subject"),
    NewIndex("outbox_rejected", "outbox", "number", where="refused IS NOT NULL"),
    NewIndex("failures_dead", "failures", "error, event_id", where="outcome = 'dead'"),
)


def upgrade() -> None:
    for index in INDEXES:
        op.execute(index.create())
