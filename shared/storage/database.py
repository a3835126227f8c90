"""One service's database: PostgreSQL, or a SQLite file; one code path for both."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, Engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.schema import Table

from shared.errors import CommitOutcomeUnknown, DependencyUnavailable, InvalidInput
from shared.storage.bulk import Insert, insert_into

if TYPE_CHECKING:
    from shared.storage.sqlite import Writer


DATABASE_ERRORS = (DBAPIError, CommitOutcomeUnknown)
"""All that a transaction may raise because of the database, or of the way to it."""


class Database:
    """Transactions on one database, for any number of threads.

    Args:
        url: `postgresql://user:password@host/name` or `sqlite:///path`.

    Raises:
        InvalidInput: the URL is none, or of another kind of database.
    """

    def __init__(self, url: str, *, app: str = "shop") -> None:
        address = address_in(url, "SHOP_DATABASE_URL")
        self.is_sqlite = address.drivername == "sqlite"
        self._writer: Writer | None = None
        self._first_of_a_look = ""
        # Imported where they are used: PostgreSQL's takes a fifth of a command's time to start.
        if self.is_sqlite:
            from shared.storage import sqlite  # noqa: PLC0415 - see above

            self.path = Path(address.database or "")
            self._engine = sqlite.engine_at(address)
            self._writer = sqlite.Writer(self._engine)
        elif address.drivername in ("postgresql", "postgresql+psycopg"):
            from shared.storage import postgresql  # noqa: PLC0415 - see above

            address = address.set(drivername="postgresql+psycopg")
            self._engine = postgresql.engine_at(address, app)
            self._first_of_a_look = postgresql.PLANNED_AS_EVER
        else:
            raise InvalidInput("SHOP_DATABASE_URL should begin with postgresql:// or sqlite:///")
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
            CommitOutcomeUnknown: the connection was lost in the commit.
        """
        connected = self._writer.connected if self._writer else self._engine.connect
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
        """A consistent look that takes no lock: all its statements see the same moment."""
        options: dict[str, object] = {"shop_reads_only": True}
        if not self.is_sqlite:
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._engine.connect() as connection:
            looking = connection.execution_options(**options)
            if self._first_of_a_look:
                looking.exec_driver_sql(self._first_of_a_look)
            yield looking

    def probe(self) -> None:
        """Ask for a sign of life.

        Raises:
            DependencyUnavailable: there is none.
        """
        try:
            with self.read() as connection:
                connection.execute(text("SELECT 1"))
        except DBAPIError as error:
            raise DependencyUnavailable(f"the database {self.place} does not answer") from error

    def insert(self, table: Table) -> Insert:
        """An INSERT that knows ON CONFLICT."""
        return insert_into(table, is_sqlite=self.is_sqlite)

    def close(self) -> None:
        """Let go of all connections."""
        if self._writer:
            self._writer.close()
        self._engine.dispose()


def is_environmental(error: BaseException) -> bool:
    """Whether an error may mean that the database is away; a probe then tells."""
    return isinstance(
        error, DependencyUnavailable | CommitOutcomeUnknown | OperationalError | InterfaceError
    )


def address_in(url: str, variable: str) -> URL:
    """What a database's URL says.

    Raises:
        InvalidInput: it is none, or names no database; the sentence repeats none of it.
    """
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        raise InvalidInput(f"{variable} is no database URL") from None
    if address.database in (None, "", ":memory:"):
        raise InvalidInput(f"{variable} should end with the database's name, or its file's path")
    return address
