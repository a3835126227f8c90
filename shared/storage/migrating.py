"""Migrates a service's database to the tables that the code expects.

There are two chains of migrations, each with its own version table: the runtime's, which is the
same in every database, and the service's. A revision is the number at the beginning of its file's
name, so checking whether a database is current needs no Alembic.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from shared.errors import OperationFailed
from shared.exhaustion import reason_of
from shared.private_files import FILE_MODE, create_folder
from shared.storage import new_indexes
from shared.storage.database import Database

_ADVISORY_LOCK = 7_450_001
"""An arbitrary number, the same in every process."""

_ALEMBIC_LOCK = threading.Lock()
"""Alembic's context is global to the process, so two threads would migrate each other's database:
https://alembic.sqlalchemy.org/en/latest/api/runtime.html#the-environment-context"""


@dataclass(frozen=True, slots=True)
class Chain:
    """A sequence of migrations.

    Attributes:
        versions: the folder of the migrations; if it does not exist, the chain is empty.
        version_table: the table that holds a database's revision.
    """

    versions: Path
    version_table: str

    @property
    def head(self) -> str | None:
        """The newest revision; None for an empty chain."""
        return max(self._migrations, default=None)

    def after(self, revision: str | None) -> list[Path]:
        """The migrations after this revision, or all, in order."""
        found = self._migrations
        return [found[number] for number in sorted(found) if number > (revision or "")]

    @property
    def _migrations(self) -> dict[str, Path]:
        return {path.name.split("_")[0]: path for path in self.versions.glob("[0-9]*_*.py")}


RUNTIME = Chain(Path(__file__).parent / "migrations" / "versions", "runtime_version")
SERVICE_VERSION = "service_version"
VERSION_TABLES = frozenset({RUNTIME.version_table, SERVICE_VERSION})


def chains(migrations: Path) -> tuple[Chain, Chain]:
    """The runtime's chain, and that of the service with this folder of migrations."""
    return RUNTIME, Chain(migrations, SERVICE_VERSION)


def is_current(database: Database, migrations: Path) -> bool:
    """Whether all migrations have been applied."""
    if database.is_sqlite and not database.path.exists():
        return False
    with database.read() as connection:
        return all(_revision(connection, chain) == chain.head for chain in chains(migrations))


def migrate(database: Database, migrations: Path) -> bool:
    """Apply the missing migrations; several processes may call this at the same time.

    On PostgreSQL, new indexes are built first, while services use the tables; see `new_indexes`.

    Returns:
        Whether a migration was applied.

    Raises:
        OperationFailed: the database cannot be reached, refuses, or is of a newer version.
    """
    try:
        with _file_lock(database):
            if is_current(database, migrations):
                return False
            _build_indexes(database, migrations)
            with database.begin() as connection:
                if not database.is_sqlite:
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
                for chain in chains(migrations):
                    _upgrade(connection, chain)
            return True
    except DBAPIError as error:
        if failure := database.failure(error):
            raise OperationFailed(f"the database {database.place} {failure}") from error
        # PostgreSQL's message may quote a row.
        reason = error.orig if database.is_sqlite else type(error.orig).__name__
        raise OperationFailed(
            f"the database {database.place} cannot be migrated: {reason}"
        ) from error


def _build_indexes(database: Database, migrations: Path) -> None:
    with database.read() as connection:
        pending = [
            each
            for chain in chains(migrations)
            for each in chain.after(_revision(connection, chain))
        ]
    new_indexes.build(database, pending)


@contextlib.contextmanager
def _file_lock(database: Database) -> Iterator[None]:
    if not database.is_sqlite:
        yield
        return
    try:
        create_folder(database.path.parent)
        with FileLock(f"{database.path}.setup.lock", mode=FILE_MODE):
            yield
    except OSError as error:
        raise OperationFailed(
            f"the folder {database.path.parent} cannot be written: {reason_of(error)}"
        ) from error


def _revision(connection: Connection, chain: Chain) -> str | None:
    tables = connection.dialect.get_table_names(connection)
    if chain.version_table not in tables:
        return None
    return connection.execute(text(f"SELECT version_num FROM {chain.version_table}")).scalar()  # noqa: S608 - a constant


def _upgrade(connection: Connection, chain: Chain) -> None:
    if chain.head is None:
        return
    # Alembic takes a tenth of a second to import, and most starts need no migration.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(RUNTIME.versions.parent))
    config.set_main_option("version_locations", str(chain.versions))
    config.set_main_option("path_separator", "newline")
    config.attributes.update(connection=connection, version_table=chain.version_table)
    try:
        with _ALEMBIC_LOCK:
            command.upgrade(config, "head")
    except CommandError as error:
        raise OperationFailed(
            f"{chain.version_table} of the database is at {_revision(connection, chain)}, which "
            f"this program does not know (it knows {chain.head}): run the newer program"
        ) from error
