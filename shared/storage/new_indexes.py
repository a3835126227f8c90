"""Indexes that migrations add to tables that may be large.

On PostgreSQL, CREATE INDEX blocks every write to the table until it ends, and the role's statement
timeout would end it first. So `migrate` builds the indexes of pending migrations with CONCURRENTLY
before the migrations' transaction, in which CREATE INDEX then finds them. Services of the version
before go on meanwhile. In a new database, and in a SQLite file, the migration creates them itself.

Source: https://www.postgresql.org/docs/18/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY
"""

import importlib.util
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text
from tenacity import Retrying, retry_if_result, wait_fixed

from shared.storage.database import Database

_ADVISORY_LOCK = 7_450_002
"""An arbitrary number, the same in every process."""

_POLL_SECONDS = 0.5

_IS_VALID = text(
    "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(quote_ident(:name))"
)
_HAS_TABLE = text("SELECT to_regclass(quote_ident(:name)) IS NOT NULL")


@dataclass(frozen=True, slots=True)
class NewIndex:
    """An index; a migration that adds some has them in its constant `INDEXES`.

    Attributes:
        columns: names or expressions, in SQL that both databases understand.
        where: the condition of a partial index; empty for all rows.
    """

    name: str
    table: str
    columns: str
    where: str = ""

    def create(self, *, how: str = "") -> str:
        """The statement that creates it unless it exists."""
        condition = f" WHERE {self.where}" if self.where else ""
        return (
            f"CREATE INDEX {how} IF NOT EXISTS {self.name} ON {self.table} "
            f"({self.columns}){condition}"
        )


def build(database: Database, migrations: Iterable[Path]) -> None:
    """Build the indexes of these migrations on the tables that a PostgreSQL database has.

    Several processes may call this at the same time.
    """
    wanted = [index for path in migrations for index in _indexes_of(path)]
    if database.is_sqlite or not wanted:
        return
    with _autocommitting(database) as connection:
        for index in wanted:
            if connection.execute(_HAS_TABLE, {"name": index.table}).scalar_one():
                _build(connection, index)


def _build(connection: Connection, index: NewIndex) -> None:
    is_valid = connection.execute(_IS_VALID, {"name": index.name}).scalar()
    if is_valid is False:  # a process that was building it has ended
        connection.execute(text(f"DROP INDEX CONCURRENTLY {index.name}"))
    if not is_valid:
        connection.execute(text(index.create(how="CONCURRENTLY")))


@contextmanager
def _autocommitting(database: Database) -> Iterator[Connection]:
    """A connection without timeouts, which no other process has meanwhile.

    The lock is polled: a statement that waits for it would have a snapshot, and CONCURRENTLY waits
    for every snapshot.
    """
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        try:
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("SET lock_timeout = 0"))
            lock = text(f"SELECT pg_try_advisory_lock({_ADVISORY_LOCK})")
            is_locked = retry_if_result(lambda acquired: not acquired)
            Retrying(retry=is_locked, wait=wait_fixed(_POLL_SECONDS))(
                lambda: connection.execute(lock).scalar_one()
            )
            yield connection
        finally:
            connection.invalidate()  # ends the session, with its settings and its lock


def _indexes_of(path: Path) -> tuple[NewIndex, ...]:
    spec = importlib.util.spec_from_file_location(f"migration_{path.stem}", path)
    assert spec is not None  # noqa: S101 - for mypy: it is a Python file
    assert spec.loader is not None  # noqa: S101 - as above
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return tuple(getattr(module, "INDEXES", ()))
