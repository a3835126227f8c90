from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.storage.database import Database
from shared.storage.migrating import migrate
from tests.support.counting import counting


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """The counting service's, migrated."""
    database = Database(f"sqlite:///{tmp_path / 'counting.db'}")
    migrate(database, counting().migrations)
    yield database
    database.close()
