import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from services.loyalty.service import loyalty
from services.loyalty.store import LoyaltyStore
from shared.storage.database import Database
from shared.storage.migrating import migrate


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.docker)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database of the version before, with awards whose addresses are stored as typed."""
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/l.db" if is_sqlite else request.getfixturevalue("postgres_url")
    database = Database(url)
    before = tmp_path / "before"
    before.mkdir()
    shutil.copy(loyalty.migrations / "0001_awards.py", before)
    migrate(database, before)
    addresses = ["Jane@Example.COM", "Jane@example.com", "jane@EXAMPLE.com", None]
    rows = [{"id": f"ORD-{n}", "email": each} for n, each in enumerate(addresses)]
    with database.begin() as connection:
        connection.execute(text(_INSERT), rows)
    yield database
    database.close()


_INSERT = "INSERT INTO awards (order_id, customer_email, points) VALUES (:id, :email, 10)"


def test_points_of_one_customer_are_one_balance_after_the_migration(database: Database) -> None:
    assert migrate(database, loyalty.migrations)

    with database.read() as connection:
        store = LoyaltyStore(connection, database)
        assert store.balance("Jane@example.com") == 20
        assert store.balance("jane@example.com") == 10
        assert store.balance("Jane@Example.COM") == 0
