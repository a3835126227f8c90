"""SQLite: durable commits, and one writing thread at a time in each process."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import cast

from sqlalchemy import URL, Connection, Engine, PoolProxiedConnection, create_engine, event
from sqlalchemy.exc import InvalidRequestError, OperationalError

from shared.errors import DependencyUnavailable
from shared.exhaustion import exhausted_resource
from shared.private_files import create_file
from shared.sqlite_locking import LONGEST_WAIT, begin_writing

_READ_ONLY = "shop_read_only"
READ_OPTIONS: dict[str, object] = {_READ_ONLY: True}
"""Execution options of a connection whose transactions take no write lock."""

POLL_INTERVAL = 0.05
"""Seconds between two reads of a file's data version; each takes some microseconds."""

BUSY_POLL_INTERVAL = 0.2
"""The same while every read finds commits: under load, many small batches cost the services twice
as much as few large ones."""


_REMEDIES = {
    5: "another process writes to it for long, or is suspended: end that process",
    8: "make the file and its folder writable",
    11: "stop all processes, and restore a backup of it",
    14: "see whether its folder is there and may be used",
    26: "see SHOP_DATABASE_URL and SHOP_HOME",
}
"""By SQLite's primary result code: https://www.sqlite.org/rescode.html"""


class Writer:
    """The connection with which a process writes a file; one thread uses it at a time.

    It is kept between transactions: SQLite's page cache stays warm, and taking a connection out of
    the pool and returning it costs as much as two statements.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = RLock()
        self._is_in_use = False
        self._connection: Connection | None = None

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """The connection, for one transaction; waits until no other thread uses it.

        Raises:
            InvalidRequestError: this thread uses it already.
        """
        with self._lock:
            if self._is_in_use:
                raise InvalidRequestError("a transaction cannot begin within another")
            if self._connection is None:
                self._connection = self._engine.connect()
            self._is_in_use = True
            try:
                yield self._connection
            except BaseException:
                # After a failed COMMIT the transaction is still open, and the pool would keep it.
                self._connection.invalidate()
                self.close()
                raise
            finally:
                self._is_in_use = False

    def close(self) -> None:
        """Close the connection; the next transaction opens another."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()


class DataVersionPoller:
    """Notices commits of other connections after which the query `pending` returns a row."""

    file_descriptor: int | None = None

    def __init__(self, path: Path, pending: str) -> None:
        self.poll_interval = POLL_INTERVAL
        self._pending = pending
        self._version: object = None
        self._found_before = False
        with _translate_errors():
            self._connection = sqlite3.connect(path, check_same_thread=False)

    def poll(self) -> bool:
        """Whether others have committed since the last call, and the query returns a row."""
        with _translate_errors():
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            has_changed, self._version = version != self._version, version
            found = has_changed and self._connection.execute(self._pending).fetchone() is not None
        self.poll_interval = BUSY_POLL_INTERVAL if found and self._found_before else POLL_INTERVAL
        self._found_before = found
        return found

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        reason = exhausted_resource(error) or error
        raise DependencyUnavailable(f"the database's file cannot be read: {reason}") from error


def failure_of(error: BaseException) -> str | None:
    """What an error means, in words that follow the file's name; None if it is not known."""
    if resource := exhausted_resource(error):
        return f"cannot be used: {resource}"
    cause = getattr(error, "orig", None) or error
    remedy = _REMEDIES.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF)
    return f"cannot be used: {cause}; {remedy}" if remedy else None


def engine_for(address: URL) -> Engine:
    """An engine for a file."""
    connect_args = {"timeout": LONGEST_WAIT, "check_same_thread": False}
    engine = create_engine(address, hide_parameters=True, connect_args=connect_args)

    @event.listens_for(engine, "do_connect")
    def _create(*_: object) -> None:
        with suppress(OSError):  # SQLite reports it in the next step
            create_file(Path(address.database or ""))

    # The driver must not begin transactions, since `_begin` does. "Serializable isolation":
    # https://docs.sqlalchemy.org/en/21/dialects/sqlite.html
    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: PoolProxiedConnection) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    # On the driver's connection, which takes a tenth of the time of SQLAlchemy's execute.
    driver = cast("sqlite3.Connection", connection.connection.driver_connection)
    try:
        if connection.get_execution_options().get(_READ_ONLY):
            driver.execute("BEGIN")
        else:
            # A plain BEGIN would fail at the first write if another connection is writing.
            begin_writing(driver)
    except sqlite3.OperationalError as error:
        raise OperationalError("BEGIN", None, error, hide_parameters=True) from error
