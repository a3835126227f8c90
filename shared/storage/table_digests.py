"""A service's own tables, whatever they are: emptied before they are made anew, and compared.

Which they are is asked of the database: all but the runtime's and those of the migrations.
"""

import hashlib
from dataclasses import dataclass

from sqlalchemy import Connection, MetaData, Table, delete, select, text

from shared.storage import inbox
from shared.storage.failures import DEAD
from shared.storage.migrating import VERSION_TABLES
from shared.storage.tables import failures, metadata
from shared.storage.tables import inbox as inbox_table

_LARGEST = 1 << 256


@dataclass(frozen=True, slots=True)
class TableDigest:
    """What a table holds, whatever the order of its rows.

    Attributes:
        rows: how many.
        digest: the same for the same rows.
    """

    rows: int
    digest: str


def digests(connection: Connection) -> dict[str, TableDigest]:
    """What each of the service's own tables holds; memory does not grow with it."""
    return {table.name: _contents(connection, table) for table in _own(connection)}


def truncate(connection: Connection) -> None:
    """Forget all that the service knows and has handled; what was discarded stays so."""
    if connection.dialect.name == "postgresql":
        # A role's statements have seconds: enough to handle a batch, not to forget years.
        connection.execute(text("SET LOCAL statement_timeout = 0"))
    for table in reversed(_own(connection)):
        connection.execute(delete(table))
    connection.execute(delete(inbox_table).where(inbox_table.c.outcome != inbox.DISCARDED))


def dead(connection: Connection) -> set[str]:
    """The ids of events that died, and were neither sent again nor handled since."""
    died = select(failures.c.event_id).where(failures.c.outcome == DEAD).distinct()
    found = set(connection.execute(died).scalars())
    return found - inbox.handled(connection, found).keys()


def _own(connection: Connection) -> list[Table]:
    """Those that others refer to come first."""
    found = MetaData()
    foreign = metadata.tables.keys() | VERSION_TABLES
    found.reflect(connection, only=lambda name, _: name not in foreign)
    return found.sorted_tables


def _contents(connection: Connection, table: Table) -> TableDigest:
    # As the driver gives it: types that only the service knows are not needed for comparing.
    name = connection.dialect.identifier_preparer.quote(table.name)
    query = text(f"SELECT * FROM {name}")  # noqa: S608 - quoted
    count = total = 0
    for row in connection.execute(query, execution_options={"yield_per": 1000}):
        count += 1
        total += int.from_bytes(hashlib.sha256(repr(tuple(row)).encode()).digest(), "big")
    return TableDigest(count, f"{total % _LARGEST:064x}")
