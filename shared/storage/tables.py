"""The runtime's tables, which are the same in every service's database.

`handled_at`, `created_at` and `failed_at` are set by the database, so that they can be compared
whichever machine a service runs on.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from shared.storage.columns import SerialNumber, UtcTime


class DatabaseClock(FunctionElement[object]):
    """The current time by the database's clock, not the time at which the transaction began."""

    # A function, since a plain ColumnElement has no cache key: its statements would be compiled
    # each time. https://docs.sqlalchemy.org/en/21/core/compiler.html#further-examples
    name = "database_clock"
    inherit_cache = True


@compiles(DatabaseClock, "postgresql")
def _of_postgresql(*_element: object, **_options: object) -> str:
    return "clock_timestamp()"


@compiles(DatabaseClock, "sqlite")
def _of_sqlite(*_element: object, **_options: object) -> str:
    return "(strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'))"


metadata = MetaData()

inbox = Table(
    "inbox",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column("event_type", Text, nullable=False),
    Column("subject", Text, nullable=True),
    Column("outcome", Text, nullable=False),
    Column("occurred_at", UtcTime, nullable=False),
    Column("handled_at", UtcTime, nullable=False, server_default=DatabaseClock()),
    Column("source", Text, nullable=True),
    Column("digest", Text, nullable=True),
    Index("inbox_by_occurred", "occurred_at"),
    Index("inbox_by_subject", "subject"),
)
"""`source` and `digest` tell a copy from another message with the same id; NULL in older rows."""

outbox = Table(
    "outbox",
    metadata,
    Column("number", SerialNumber, primary_key=True),
    Column("event_id", Uuid, nullable=False, unique=True),
    Column("topic", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("subject", Text, nullable=True),
    Column("correlation_id", Uuid, nullable=True),
    Column("occurred_at", UtcTime, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False, server_default=DatabaseClock()),
    Column("sent_at", UtcTime, nullable=True),
    Column("refused", Text, nullable=True, key="rejected"),
    Index("outbox_by_subject", "subject"),
    # Their migrations make them partial; to declare it here would import both dialects.
    Index("outbox_waiting", "number"),
    Index("outbox_by_sent", "sent_at"),
    Index("outbox_rejected", "number"),
)

failures = Table(
    "failures",
    metadata,
    Column("number", SerialNumber, primary_key=True),
    Column("event_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("subject", Text, nullable=True),
    Column("attempt", Integer, nullable=False),
    Column("replays", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("traceback", Text, nullable=False),
    Column("failed_at", UtcTime, nullable=False, server_default=DatabaseClock()),
    Index("failures_by_event", "event_id"),
    Index("failures_by_time", "failed_at"),
    Index("failures_dead", "error", "event_id"),  # partial, as above
)

retried_events = Table(
    "retried_events", metadata, Column("event_id", Text, primary_key=True, nullable=False)
)
"""The events with a failed attempt that is to be repeated, until they are handled or dead.

A few may stay that were handled without another attempt; who reads it looks at the inbox too.
"""

discards = Table(
    "discards",
    metadata,
    Column("letter_id", Text, primary_key=True),
    Column("event_type", Text, nullable=False),
    Column("subject", Text, nullable=True),
    Column("reason", Text, nullable=False),
    Column("discarded_by", Text, nullable=False),
    Column("discarded_at", UtcTime, nullable=False, server_default=DatabaseClock()),
)

checkpoints = Table(
    "history_place",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("place", BigInteger, nullable=False, key="position"),
    Column("until", BigInteger, nullable=False),
    Column("caught_up_at", UtcTime, nullable=True),
)
"""The service's checkpoint in the history: one row, or none."""

probe = Table("probe", metadata, Column("filler", LargeBinary, nullable=False))
"""What `Database.probe` writes: one row, or none."""

service_state = Table(
    "service_state",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("gateway", Text, nullable=True),
    Column("paused_since", UtcTime, nullable=True),
    Column("paused_for", Text, nullable=True),
    Column("seen_at", UtcTime, nullable=True),
)
"""What the service's processes leave for the doctor: one row, or none; see `service_state.py`."""
