"""A service's database, PostgreSQL or a SQLite file, behind one interface."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.schema import Table

from shared.clocks import ahead
from shared.errors import CommitOutcomeUnknown, DependencyUnavailable, InvalidInput
from shared.exhaustion import exhausted_resource
from shared.storage.bulk import Insert, insert_into
from shared.storage.tables import probe

if TYPE_CHECKING:
    from shared.storage.sqlite import Writer

DATABASE_ERRORS = (DBAPIError, CommitOutcomeUnknown)
"""The errors that a transaction raises because of the database or the connection to it."""

PROBE_BYTES = 64 * 1024
"""What a probe writes: random, so that it cannot be compressed, and more than a few free pages."""


class Database:
    """Transactions on one database, for any number of threads.

    Args:
        url: `postgresql://user:password@host/name` or `sqlite:///path`.
        app: the name that PostgreSQL shows for the connections.

    Attributes:
        engine: SQLAlchemy's, for migrations and raw connections.
        place: names the database in messages, without the password.

    Raises:
        InvalidInput: the URL cannot be parsed, or is of another kind of database.
    """

    def __init__(self, url: str, *, app: str = "shop") -> None:
        address = parse_url(url, "SHOP_DATABASE_URL")
        self.is_sqlite = address.drivername == "sqlite"
        self._writer: Writer | None = None
        # Each is imported when it is needed: PostgreSQL's takes a fifth of a command's start.
        if self.is_sqlite:
            from shared.storage import sqlite  # noqa: PLC0415 - see above

            self.path = Path(address.database or "")
            self.engine = sqlite.engine_for(address)
            self._writer = sqlite.Writer(self.engine)
            self._read_options = sqlite.READ_OPTIONS
        elif address.drivername in ("postgresql", "postgresql+psycopg"):
            from shared.storage import postgresql  # noqa: PLC0415 - see above

            address = address.set(drivername="postgresql+psycopg")
            self.engine = postgresql.engine_for(address, app)
            self._read_options = postgresql.READ_OPTIONS
        else:
            raise InvalidInput("SHOP_DATABASE_URL should begin with postgresql:// or sqlite:///")
        self.address = address
        self.place = str(self.path) if self.is_sqlite else f"{address.host}/{address.database}"

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction: committed at the end of the block, rolled back if the block raises.

        On SQLite it has the write lock from the beginning.

        Raises:
            CommitOutcomeUnknown: the connection was lost during the commit.
        """
        connected = self._writer.connected if self._writer else self.engine.connect
        with connected() as connection:
            transaction = connection.begin()
            try:
                yield connection
            except BaseException:
                transaction.rollback()
                raise
            try:
                transaction.commit()
            except (OperationalError, InterfaceError) as error:
                if error.connection_invalidated:
                    raise CommitOutcomeUnknown from error
                raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read-only snapshot that takes no locks: all statements see the same state."""
        with self.engine.connect() as connection:
            yield connection.execution_options(**self._read_options)

    def ping(self) -> None:
        """Check that the database answers; it may be unable to write.

        Raises:
            DependencyUnavailable: it does not.
        """
        with self._as_unavailable(), self.read() as connection:
            connection.execute(text("SELECT 1"))

    def probe(self) -> None:
        """Check that the database can write: replace and commit a row that takes new disk space.

        Raises:
            DependencyUnavailable: it cannot.
        """
        with self._as_unavailable(), self.begin() as connection:
            # On PostgreSQL, TRUNCATE begins new files; a row of a page that exists could be
            # replaced on a full disk, while no other table could grow.
            statement = "DELETE FROM probe" if self.is_sqlite else "TRUNCATE probe"
            connection.execute(text(statement))
            connection.execute(probe.insert(), [{"filler": os.urandom(PROBE_BYTES)}])

    def clock_difference(self) -> float | None:
        """Seconds by which the server's clock is ahead of this machine's at least; or behind (< 0).

        Returns:
            None for a SQLite file, which has this machine's clock.
        """
        if self.is_sqlite:
            return None
        with self.read() as connection:
            asked = datetime.now(UTC)
            now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
            return ahead(now, now, asked=asked, answered=datetime.now(UTC))

    @contextmanager
    def _as_unavailable(self) -> Iterator[None]:
        try:
            yield
        except DATABASE_ERRORS as error:
            problem = self.failure(error) or "does not answer"
            raise DependencyUnavailable(f"the database {self.place} {problem}") from error

    def failure(self, error: BaseException) -> str | None:
        """Why it cannot be used, in words that follow its name, and what to do; None if unknown."""
        if self.is_sqlite:
            from shared.storage import sqlite  # noqa: PLC0415 - as in __init__

            return sqlite.failure_of(error)
        from shared.storage import postgresql_failures  # noqa: PLC0415 - as in __init__

        found = postgresql_failures.failure_of(self.address, error)
        return str(found) if found else None

    def insert(self, table: Table) -> Insert:
        """An INSERT that supports ON CONFLICT."""
        return insert_into(table, is_sqlite=self.is_sqlite)

    def close(self) -> None:
        """Close all connections; later calls open new ones."""
        if self._writer:
            self._writer.close()
        self.engine.dispose()


def is_environmental(error: BaseException) -> bool:
    """Whether an error may mean that the database is away; `Database.probe` then decides."""
    return isinstance(
        error, DependencyUnavailable | CommitOutcomeUnknown | OperationalError | InterfaceError
    )


def failure_reason(error: BaseException) -> str:
    """Why a database cannot be used, in words that follow the database's name.

    A message of PostgreSQL's driver may contain a user's name or a value, so only the class of the
    driver's error is named, which stands for one of PostgreSQL's codes; SQLite's contains none.
    """
    cause = getattr(error, "orig", None) or error
    if resource := exhausted_resource(error):
        return f"cannot be used: {resource}"
    if hasattr(cause, "sqlite_errorcode"):
        return f"cannot be used: {cause}"
    is_unreachable = isinstance(error, OperationalError) and not getattr(cause, "sqlstate", None)
    question = ": is it running, and is SHOP_DATABASE_URL right?" if is_unreachable else ""
    return f"cannot be used ({type(cause).__name__}){question}"


def parse_url(url: str, variable: str) -> URL:
    """Parse a database URL; `variable` is the setting that the error names.

    Raises:
        InvalidInput: it is no URL, or names no database; the message repeats no part of it.
    """
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        raise InvalidInput(f"{variable} is no database URL") from None
    if address.database in (None, "", ":memory:"):
        raise InvalidInput(f"{variable} should end with the database's name, or its file's path")
    return address
