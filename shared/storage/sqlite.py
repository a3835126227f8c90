"""A SQLite file: on the disk when a transaction commits, and written by one thread at a time."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import cast

from sqlalchemy import URL, Connection, Engine, PoolProxiedConnection, create_engine, event
from sqlalchemy.exc import InvalidRequestError, OperationalError

from shared.errors import DependencyUnavailable
from shared.sqlite_locking import LONGEST_WAIT, begin_writing

READS_ONLY = "shop_reads_only"
"""The execution option of a connection that begins without waiting for those who write."""


GLANCE_EVERY = 0.05
"""Seconds between two looks at a file's data version; a look costs some microseconds."""

STREAM_EVERY = 0.2
"""Seconds until the next look after two that found something. Where much is committed, few large
batches go through all services for half of what many small ones cost."""


class Writer:
    """The connection that a process writes a file with.

    It is kept from one transaction to the next: what SQLite has read of the file stays in memory,
    and to fetch a connection and give it back costs as much as two statements.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = RLock()
        self._is_writing = False
        self._connection: Connection | None = None

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """The connection, for one transaction; the other threads wait.

        Raises:
            InvalidRequestError: this thread has begun one already.
        """
        with self._turn:
            if self._is_writing:
                raise InvalidRequestError("a transaction cannot begin within another")
            if self._connection is None:
                self._connection = self._engine.connect()
            self._is_writing = True
            try:
                yield self._connection
            except BaseException:
                # The pool would keep it; and after a COMMIT that failed, it is still open.
                self._connection.invalidate()
                self.close()
                raise
            finally:
                self._is_writing = False

    def close(self) -> None:
        """Let go of it."""
        with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()


class DataVersionPoller:
    """Hears of what other connections commit, by looking.

    Args:
        something: a query that has a row when a commit is worth hearing of.
    """

    source: int | None = None

    def __init__(self, path: Path, something: str) -> None:
        self.every = GLANCE_EVERY
        self._something = something
        self._version: object = None
        self._found = False
        with _translate_errors():
            self._file = sqlite3.connect(path, check_same_thread=False)

    def poll(self) -> bool:
        """Whether others have committed since, and something is there."""
        with _translate_errors():
            (version,) = self._file.execute("PRAGMA data_version").fetchone()
            changed, self._version = version != self._version, version
            found = changed and self._file.execute(self._something).fetchone() is not None
        self.every = STREAM_EVERY if found and self._found else GLANCE_EVERY
        self._found = found
        return found

    def close(self) -> None:
        """Look no more."""
        self._file.close()


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise DependencyUnavailable(f"the database's file cannot be looked at: {error}") from error


def engine_at(address: URL) -> Engine:
    """An engine for a file."""
    connect_args = {"timeout": LONGEST_WAIT, "check_same_thread": False}
    engine = create_engine(address, hide_parameters=True, connect_args=connect_args)

    # SQLAlchemy begins; the driver must not. "Serializable isolation / Savepoints":
    # https://docs.sqlalchemy.org/en/21/dialects/sqlite.html
    @event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, record: PoolProxiedConnection) -> None:
        del record
        connection.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    """Begin on the driver's connection, which costs a tenth of what SQLAlchemy's execute does."""
    driver = cast("sqlite3.Connection", connection.connection.driver_connection)
    try:
        if connection.get_execution_options().get(READS_ONLY):
            driver.execute("BEGIN")
        else:
            # A deferred one that turns into a writing one fails at once when another writes.
            begin_writing(driver)
    except sqlite3.OperationalError as error:
        raise OperationalError("BEGIN", None, error, hide_parameters=True) from error
