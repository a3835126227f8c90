"""The row that `Database.probe` writes."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table("probe", sa.Column("filler", sa.LargeBinary, nullable=False))
