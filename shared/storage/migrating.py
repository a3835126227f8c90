"""Brings a service's database to the shape that the code expects.

Two chains of migrations, each with a version table of its own: the runtime's, which is the same in
every database, and the service's. A revision is the number that its file's name begins with, so
that whether something is to be done is known without loading Alembic.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from shared.errors import OperationFailed
from shared.storage.database import Database

_ADVISORY_LOCK = 7_450_001
"""Any number will do, as long as every process takes the same."""

_ALEMBIC = threading.Lock()
"""Alembic keeps what it works on in a module, so two threads would migrate each other's database:
https://alembic.sqlalchemy.org/en/latest/api/runtime.html#the-environment-context"""


@dataclass(frozen=True, slots=True)
class Chain:
    """Migrations that follow one another.

    Attributes:
        versions: the folder that holds them; where there is none, there is nothing to do.
        version_table: where a database keeps how far it is.
    """

    versions: Path
    version_table: str

    @property
    def head(self) -> str | None:
        """The last revision."""
        numbers = (path.name.split("_")[0] for path in self.versions.glob("[0-9]*_*.py"))
        return max(numbers, default=None)


RUNTIME = Chain(Path(__file__).parent / "migrations" / "versions", "runtime_version")
SERVICE_VERSION = "service_version"
VERSION_TABLES = frozenset({RUNTIME.version_table, SERVICE_VERSION})


def chains(migrations: Path) -> tuple[Chain, Chain]:
    """The runtime's chain, and that of the service whose migrations are in that folder."""
    return RUNTIME, Chain(migrations, SERVICE_VERSION)


def is_current(database: Database, migrations: Path) -> bool:
    """Whether there is nothing to migrate."""
    if database.is_sqlite and not database.path.exists():
        return False
    with database.read() as connection:
        return all(_version(connection, each) == each.head for each in chains(migrations))


def migrate(database: Database, migrations: Path) -> bool:
    """Apply what is missing; safe when several processes start at once.

    Returns:
        Whether there was something to do.

    Raises:
        OperationFailed: the database cannot be reached, or refuses, or a newer program made it.
    """
    try:
        with _file_lock(database):
            if is_current(database, migrations):
                return False
            with database.begin() as connection:
                if not database.is_sqlite:
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
                for chain in chains(migrations):
                    _upgrade(connection, chain)
            return True
    except DBAPIError as error:
        # SQLite says of its file what is wrong; a server may quote a row.
        said = error.orig if database.is_sqlite else type(error.orig).__name__
        raise OperationFailed(
            f"the database {database.place} cannot be migrated: {said}"
        ) from error


@contextlib.contextmanager
def _file_lock(database: Database) -> Iterator[None]:
    if not database.is_sqlite:
        yield
        return
    try:
        database.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{database.path}.setup.lock"):
            yield
    except OSError as error:
        raise OperationFailed(
            f"the folder {database.path.parent} cannot be written: {os.strerror(error.errno or 0)}"
        ) from error


def _version(connection: Connection, chain: Chain) -> str | None:
    tables = connection.dialect.get_table_names(connection)
    if chain.version_table not in tables:
        return None
    return connection.execute(text(f"SELECT version_num FROM {chain.version_table}")).scalar()  # noqa: S608 - a name of ours


def _upgrade(connection: Connection, chain: Chain) -> None:
    if chain.head is None:
        return
    # Alembic takes a tenth of a second to import, and most starts have nothing to migrate.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(RUNTIME.versions.parent))
    config.set_main_option("version_locations", str(chain.versions))
    config.set_main_option("path_separator", "newline")
    config.attributes.update(connection=connection, version_table=chain.version_table)
    try:
        with _ALEMBIC:
            command.upgrade(config, "head")
    except CommandError as error:
        raise OperationFailed(
            f"{chain.version_table} of the database is at {_version(connection, chain)}, which "
            f"this program does not know (it knows {chain.head}): run the newer program"
        ) from error
