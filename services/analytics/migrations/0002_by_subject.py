"""Adds an index to find the events about one order."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index("facts_by_subject", "facts", ["subject"])
