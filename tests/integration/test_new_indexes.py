"""A database of the version before gets its new indexes while services use it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from shared.storage.database import Database
from shared.storage.migrating import is_current, migrate
from shared.storage.pruning import HANDLED_EVENTS
from tests.support.aged_rows import add_rows
from tests.support.counting import counting
from tests.support.waiting import eventually
from tests.unit.services.test_migrations import runtime_of

MIGRATIONS = counting().migrations
INDEXES = {
    "inbox_by_occurred",
    "inbox_by_subject",
    "outbox_by_subject",
    "outbox_rejected",
    "failures_dead",
}


@pytest.fixture
def before(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    """A database of the version before, with a row."""
    database = Database(postgres_url)
    with runtime_of("0005", tmp_path, monkeypatch):
        migrate(database, MIGRATIONS)
    add_rows(database, HANDLED_EVENTS, [datetime.now(UTC)])
    yield database
    database.close()


def valid_indexes(database: Database) -> set[str]:
    query = "SELECT indexrelid::regclass::text FROM pg_index WHERE indisvalid"
    with database.read() as connection:
        return set(connection.execute(text(query)).scalars())


def is_building(database: Database, *, for_seconds: int) -> bool:
    query = text(
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' "
        "AND datname = current_database() AND wait_event_type = 'Lock' "
        "AND clock_timestamp() - query_start > make_interval(secs => :seconds)"
    )
    with database.read() as connection:
        return connection.execute(query, {"seconds": for_seconds}).first() is not None


def test_services_write_while_the_indexes_are_built_however_long_it_takes(
    before: Database,
) -> None:
    options = {"options": "-c statement_timeout=2s -c lock_timeout=2s"}
    url = before.address.update_query_dict(options).render_as_string(hide_password=False)
    with ThreadPoolExecutor(1) as pool, closing(Database(url)) as impatient:
        with before.begin() as unfinished:
            # CREATE INDEX would wait for this transaction, and every write would wait for it.
            unfinished.execute(text("UPDATE inbox SET outcome = outcome"))
            migrated = pool.submit(migrate, impatient, MIGRATIONS)
            eventually(lambda: is_building(before, for_seconds=3))
            with impatient.begin() as connection:
                connection.execute(text("UPDATE inbox SET outcome = outcome WHERE subject = 'b'"))
            add_rows(impatient, HANDLED_EVENTS, [datetime.now(UTC)])
        assert migrated.result(30)

    assert valid_indexes(before) >= INDEXES
    assert is_current(before, MIGRATIONS)


def test_an_index_whose_building_was_interrupted_is_built_again(before: Database) -> None:
    with before.begin() as connection:
        connection.execute(text("CREATE INDEX inbox_by_subject ON inbox (subject)"))
        connection.execute(
            text(
                "UPDATE pg_index SET indisvalid = false "
                "WHERE indexrelid = 'inbox_by_subject'::regclass"
            )
        )

    migrate(before, MIGRATIONS)

    assert valid_indexes(before) >= INDEXES


def test_several_processes_build_each_index_once(before: Database, postgres_url: str) -> None:
    databases = [Database(postgres_url) for _ in range(4)]

    with ThreadPoolExecutor(len(databases)) as pool:
        migrated = list(pool.map(lambda each: migrate(each, MIGRATIONS), databases))
    for each in databases:
        each.close()

    assert any(migrated)
    assert valid_indexes(before) >= INDEXES
