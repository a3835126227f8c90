"""Adds indexes to list the newest orders with a status; each order is in one of them."""

from alembic import op

from shared.storage.new_indexes import NewIndex

revision = "0002"
down_revision = "0001"


def _newest(name: str, where: str) -> NewIndex:
    return NewIndex(f"orders_{name}", "orders", "placed_at, order_id", where)


INDEXES = (
    _newest(
        "placed",
        "reserved_at IS NULL AND paid_at IS NULL AND shipped_at IS NULL AND cancelled_at IS NULL",
    ),
    _newest(
        "reserved",
        "reserved_at IS NOT NULL AND paid_at IS NULL AND shipped_at IS NULL "
        "AND cancelled_at IS NULL",
    ),
    _newest("paid", "paid_at IS NOT NULL AND shipped_at IS NULL AND cancelled_at IS NULL"),
    _newest("shipped", "shipped_at IS NOT NULL AND cancelled_at IS NULL"),
    _newest("cancelled", "cancelled_at IS NOT NULL"),
)


def upgrade() -> None:
    for index in INDEXES:
        op.execute(index.create())
