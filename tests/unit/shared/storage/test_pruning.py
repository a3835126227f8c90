"""Old rows are deleted in batches, on both databases."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from shared.storage.database import Database
from shared.storage.migrating import migrate
from shared.storage.pruning import (
    FAILED_ATTEMPTS,
    HANDLED_EVENTS,
    SENT_EVENTS,
    Prunable,
    PrunedBatch,
    prune,
)
from shared.storage.tables import outbox
from tests.support.aged_rows import add_rows
from tests.support.counting import counting

NOW = datetime.now(UTC)
PRUNABLE = (SENT_EVENTS, FAILED_ATTEMPTS, HANDLED_EVENTS)
EACH = pytest.mark.parametrize("prunable", PRUNABLE, ids=lambda each: each.name)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.docker)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'counting.db'}")
    else:
        database = Database(request.getfixturevalue("postgres_url"))
    migrate(database, counting().migrations)
    yield database
    database.close()


def add(database: Database, prunable: Prunable, days: Sequence[int]) -> None:
    add_rows(database, prunable, [NOW - timedelta(days=each) for each in days])


def ages(database: Database, prunable: Prunable) -> list[int]:
    with database.read() as connection:
        times = connection.execute(select(prunable.time).order_by(prunable.time)).scalars()
        return [(NOW - each).days for each in times]


def prune_some(
    database: Database, prunable: Prunable, *, days: int, most: int = 100
) -> PrunedBatch:
    with database.begin() as connection:
        return prune(connection, prunable, before=NOW - timedelta(days=days), most=most)


@EACH
def test_only_old_rows_are_deleted(database: Database, prunable: Prunable) -> None:
    add(database, prunable, [1, 2, 3, 4])

    batch = prune_some(database, prunable, days=2)

    assert batch == PrunedBatch(2, NOW - timedelta(days=3))
    assert ages(database, prunable) == [2, 1]


@EACH
def test_a_batch_deletes_the_oldest_and_the_next_continues(
    database: Database, prunable: Prunable
) -> None:
    add(database, prunable, [1, 5, 4, 4, 4, 3])

    first = prune_some(database, prunable, days=2, most=3)
    with database.begin() as connection:
        before = NOW - timedelta(days=2)
        second = prune(connection, prunable, before=before, after=first.last, most=3)

    assert (first.rows, second.rows) == (3, 2)
    assert ages(database, prunable) == [1]


def test_events_that_were_not_sent_are_never_deleted(database: Database) -> None:
    add(database, SENT_EVENTS, [8, 9])
    with database.begin() as connection:
        connection.execute(update(outbox).values(sent_at=None))

    assert prune_some(database, SENT_EVENTS, days=1).rows == 0


def test_on_postgresql_rows_that_another_process_deletes_are_skipped(postgres_url: str) -> None:
    database = Database(postgres_url)
    migrate(database, counting().migrations)
    add(database, FAILED_ATTEMPTS, [5, 4, 3])
    before = NOW - timedelta(days=1)

    with database.begin() as one, database.begin() as other:
        first = prune(one, FAILED_ATTEMPTS, before=before, most=2)
        second = prune(other, FAILED_ATTEMPTS, before=before, most=2)
    with database.read() as connection:
        remaining = connection.execute(select(func.count(FAILED_ATTEMPTS.key))).scalar_one()
    database.close()

    assert (first.rows, second.rows, remaining) == (2, 1, 0)
