"""The checkpoint of a service that catches up with the history, or is rebuilt from it."""

import sqlalchemy as sa
from alembic import op

from shared.storage.columns import UtcTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "history_place",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("place", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("caught_up_at", UtcTime, nullable=True),
    )
