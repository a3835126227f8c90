"""One service's database: PostgreSQL, or a SQLite file; one code path for both."""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import RLock
from typing import cast

import psycopg
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    PoolProxiedConnection,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.schema import Table

from shared.errors import CouldNotBeDone, EnvironmentFailed, WrongInput
from shared.storage.postgresql import engine_at
from shared.turns import LONGEST_WAIT, begin_writing

Insert = postgresql.Insert | sqlite.Insert

DATABASE_ERRORS = (DBAPIError, psycopg.Error, sqlite3.Error)
"""All that a database, or the way to it, may raise."""


class OutcomeUnknown(CouldNotBeDone):
    """The database went away while it committed: whether it did is not known."""


class Database:
    """Transactions on one database, for any number of threads.

    Args:
        url: `postgresql://user:password@host/name` or `sqlite:///path`.

    Raises:
        WrongInput: the URL is none, or of another kind of database.
    """

    def __init__(self, url: str, *, app: str = "shop") -> None:
        address = address_in(url, "SHOP_DATABASE_URL")
        self.is_sqlite = address.drivername == "sqlite"
        if self.is_sqlite:
            self.path = Path(address.database or "")
            self._engine = _sqlite_engine(address)
        elif address.drivername in ("postgresql", "postgresql+psycopg"):
            address = address.set(drivername="postgresql+psycopg")
            self._engine = engine_at(address, app)
        else:
            raise WrongInput("SHOP_DATABASE_URL should begin with postgresql:// or sqlite:///")
        self._turn: AbstractContextManager[object] = RLock() if self.is_sqlite else nullcontext()
        self.address = address
        self.place = str(self.path) if self.is_sqlite else f"{address.host}/{address.database}"

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine, for migrations and raw connections."""
        return self._engine

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One transaction: all of the block, or nothing.

        Raises:
            OutcomeUnknown: the connection was lost in the commit.
        """
        with self._turn, self._engine.connect() as connection:
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
                    raise OutcomeUnknown from error
                raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent look that takes no lock: all its statements see the same moment."""
        options: dict[str, object] = {"shop_reads_only": True}
        if not self.is_sqlite:
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._engine.connect() as connection:
            yield connection.execution_options(**options)

    def probe(self) -> None:
        """Ask for a sign of life.

        Raises:
            EnvironmentFailed: there is none.
        """
        try:
            with self.read() as connection:
                connection.execute(text("SELECT 1"))
        except DBAPIError as error:
            raise EnvironmentFailed(f"the database {self.place} does not answer") from error

    def insert(self, table: Table) -> Insert:
        """An INSERT that knows ON CONFLICT."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()


def is_environmental(error: BaseException) -> bool:
    """Whether an error may mean that the database is away; a probe then tells."""
    return isinstance(error, EnvironmentFailed | OutcomeUnknown | OperationalError | InterfaceError)


def address_in(url: str, variable: str) -> URL:
    """What a database's URL says.

    Raises:
        WrongInput: it is none, or names no database; the sentence repeats none of it.
    """
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        raise WrongInput(f"{variable} is no database URL") from None
    if address.database in (None, "", ":memory:"):
        raise WrongInput(f"{variable} should end with the database's name, or its file's path")
    return address


def _sqlite_engine(address: URL) -> Engine:
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

    event.listen(engine, "begin", _begin_on_sqlite)
    return engine


def _begin_on_sqlite(connection: Connection) -> None:
    """Begin on the driver's connection, which costs a tenth of what SQLAlchemy's execute does."""
    driver = cast("sqlite3.Connection", connection.connection.driver_connection)
    try:
        if connection.get_execution_options().get("shop_reads_only"):
            driver.execute("BEGIN")
        else:
            # A deferred one that turns into a writing one fails at once when another writes.
            begin_writing(driver)
    except sqlite3.OperationalError as error:
        raise OperationalError("BEGIN", None, error, hide_parameters=True) from error
