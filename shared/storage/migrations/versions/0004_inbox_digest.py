"""What tells a copy of a handled event from another message with the same id."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("inbox", sa.Column("source", sa.Text, nullable=True))
    op.add_column("inbox", sa.Column("digest", sa.Text, nullable=True))
