"""Compares and empties a service's own tables, for a rebuild from the history.

The tables are read from the database: all except the runtime's and the migrations'.
"""

import hashlib
import warnings
from dataclasses import dataclass

from sqlalchemy import Connection, MetaData, Table, delete, select, text

from shared.storage import inbox
from shared.storage.failures import IS_DEAD
from shared.storage.migrating import VERSION_TABLES
from shared.storage.tables import failures, metadata
from shared.storage.tables import inbox as inbox_table


@dataclass(frozen=True, slots=True)
class TableDigest:
    """The number of a table's rows, and a digest that does not depend on their order."""

    rows: int
    digest: str


def digests(connection: Connection) -> dict[str, TableDigest]:
    """The digest of each of the service's own tables, by name; tables are read row by row."""
    return {table.name: _digest(connection, table) for table in _own_tables(connection)}


def truncate(connection: Connection) -> None:
    """Empty the service's own tables and the inbox; discarded events stay in the inbox."""
    if connection.dialect.name == "postgresql":
        # The role's statement timeout is meant for batches, not for whole tables.
        connection.execute(text("SET LOCAL statement_timeout = 0"))
    for table in reversed(_own_tables(connection)):
        connection.execute(delete(table))
    connection.execute(delete(inbox_table).where(inbox_table.c.outcome != inbox.DISCARDED))


def dead_event_ids(connection: Connection) -> set[str]:
    """The ids of events that are dead: neither redriven nor handled since their last attempt."""
    statement = select(failures.c.event_id).where(IS_DEAD).distinct()
    dead = set(connection.execute(statement).scalars())
    return dead - inbox.outcomes(connection, dead).keys()


def _own_tables(connection: Connection) -> list[Table]:
    """Tables that others refer to come first."""
    reflected = MetaData()
    foreign = metadata.tables.keys() | VERSION_TABLES
    with warnings.catch_warnings():
        # SQLAlchemy cannot read such an index from SQLite; only the columns are needed here.
        warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based")
        reflected.reflect(connection, only=lambda name, _: name not in foreign)
    return reflected.sorted_tables


def _digest(connection: Connection, table: Table) -> TableDigest:
    # A comparison of the driver's values does not need the service's column types.
    name = connection.dialect.identifier_preparer.quote(table.name)
    query = text(f"SELECT * FROM {name}")  # noqa: S608 - quoted
    count = total = 0
    for row in connection.execute(query, execution_options={"yield_per": 1000}):
        count += 1
        total += int.from_bytes(hashlib.sha256(repr(tuple(row)).encode()).digest(), "big")
    return TableDigest(count, f"{total % 2**256:064x}")
