"""Adds indexes to list the newest shipments, all and those with a status."""

from alembic import op

from shared.storage.new_indexes import NewIndex

revision = "0002"
down_revision = "0001"

_NEWEST_FIRST = "coalesce(opened_at, paid_at, reserved_at, voided_at) DESC, order_id"

INDEXES = (
    NewIndex("shipments_newest", "shipments", _NEWEST_FIRST),
    NewIndex("shipments_shipped", "shipments", _NEWEST_FIRST, "shipped_at IS NOT NULL"),
    NewIndex(
        "shipments_void", "shipments", _NEWEST_FIRST, "shipped_at IS NULL AND voided_at IS NOT NULL"
    ),
    NewIndex(
        "shipments_open", "shipments", _NEWEST_FIRST, "shipped_at IS NULL AND voided_at IS NULL"
    ),
)


def upgrade() -> None:
    for index in INDEXES:
        op.execute(index.create())
