"""What is said of a database whose tables are not those that the code declares."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from shared.storage.database import Database
from shared.storage.migrating import migrate
from shared.storage.table_differences import table_differences
from shop import registry
from tests.support.counting import CountStore, counting


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.docker)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/c.db" if is_sqlite else request.getfixturevalue("postgres_url")
    database = Database(url)
    migrate(database, counting(lambda *_: None).migrations)
    yield database
    database.close()


@pytest.mark.parametrize(
    ("statement", "sentences"),
    [
        pytest.param("SELECT 1", [], id="nothing"),
        pytest.param("DROP TABLE counts", ["the table counts is missing"], id="own-table"),
        pytest.param("DROP TABLE discards", ["the table discards is missing"], id="runtime-table"),
        pytest.param(
            "ALTER TABLE inbox DROP COLUMN digest",
            ["the table inbox lacks the column digest"],
            id="column",
        ),
        pytest.param("ALTER TABLE counts ADD COLUMN colour text", [], id="a-column-more"),
        pytest.param(
            "ALTER TABLE counts ADD COLUMN colour text NOT NULL DEFAULT 'red'", [], id="default"
        ),
    ],
)
def test_tables_and_columns_that_are_missing_are_named(
    database: Database, statement: str, sentences: list[str]
) -> None:
    with database.begin() as connection:
        connection.execute(text(statement))

    assert table_differences(database, CountStore) == sentences


def test_a_column_that_nothing_writes_and_every_row_needs_is_named(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("DROP TABLE discards"))
        columns = ("letter_id", "event_type", "subject", "reason", "discarded_by", "discarded_at")
        more = ", ".join(f"{name} text" for name in columns)
        connection.execute(text(f"CREATE TABLE discards (why text NOT NULL, {more})"))

    assert table_differences(database, CountStore) == [
        "the table discards needs the column why, which the code does not have"
    ]


@pytest.mark.parametrize("name", registry.names())
def test_the_migrations_of_every_service_make_the_tables_that_it_declares(
    name: str, tmp_path: Path
) -> None:
    service = registry.service(name)
    database = Database(f"sqlite:///{tmp_path}/{name}.db")
    migrate(database, service.migrations)

    assert table_differences(database, service.store) == []
    database.close()
