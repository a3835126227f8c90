"""A database of the version before gets its new indexes while services use it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from shared.storage import migrating
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


def is_building(database: Database) -> bool:
    query = (
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' "
        "AND datname = current_database() AND wait_event_type = 'Lock'"
    )
    with database.read() as connection:
        return connection.execute(text(query)).first() is not None


def test_services_write_while_the_indexes_are_built(before: Database, postgres_url: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        with before.begin() as unfinished:
            # CREATE INDEX would wait for this transaction, and every write would wait for it.
            unfinished.execute(text("UPDATE inbox SET outcome = outcome"))
            migrated = pool.submit(migrate, Database(postgres_url), MIGRATIONS)
            eventually(lambda: is_building(before))
            with before.begin() as connection:
                connection.execute(text("SET LOCAL lock_timeout = '5s'"))
                connection.execute(text("DELETE FROM outbox"))
            add_rows(before, HANDLED_EVENTS, [datetime.now(UTC)])
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


def test_the_timeout_of_statements_does_not_end_the_building(before: Database) -> None:
    impatient = Database(
        before.address.update_query_dict({"options": "-c statement_timeout=1ms"}).render_as_string(
            hide_password=False
        )
    )

    with pytest.MonkeyPatch.context() as patch:
        # Nothing else may take longer than the timeout.
        patch.setattr(migrating, "_upgrade", lambda *_: None)
        patch.setattr(migrating, "_revision", lambda *_: "0005")
        patch.setattr(migrating, "is_current", lambda *_: False)
        migrate(impatient, MIGRATIONS)
    impatient.close()

    assert valid_indexes(before) >= INDEXES


def test_several_processes_build_each_index_once(before: Database, postgres_url: str) -> None:
    databases = [Database(postgres_url) for _ in range(4)]

    with ThreadPoolExecutor(len(databases)) as pool:
        migrated = list(pool.map(lambda each: migrate(each, MIGRATIONS), databases))
    for each in databases:
        each.close()

    assert any(migrated)
    assert valid_indexes(before) >= INDEXES
