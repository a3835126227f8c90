"""Which events are failing, read in batches, on both databases."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from shared.storage import failing_events as reading
from shared.storage import failures
from shared.storage.database import Database
from shared.storage.failing_events import failing_events
from shared.storage.migrating import migrate
from shared.storage.tables import inbox
from tests.support.counting import counting


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.docker)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/c.db" if is_sqlite else request.getfixturevalue("postgres_url")
    database = Database(url)
    migrate(database, counting().migrations)
    yield database
    database.close()


def fail(database: Database, event_id: str, *outcomes: str, replays: int = 0) -> None:
    """Record one failed attempt for each outcome."""
    with database.begin() as connection:
        for attempt, outcome in enumerate(outcomes, start=1):
            failure = failures.Failure(
                event_id=event_id,
                event_type="thing.happened.v1",
                subject="ORD-1",
                attempt=attempt,
                replays=replays,
                outcome=outcome,
                error="KeyError",
                message=failures.WITHHELD,
                traceback="the same stack",
            )
            failures.record(connection, failure)


def handle(database: Database, event_id: str) -> None:
    row = {"event_id": UUID(event_id), "event_type": "x", "outcome": "handled"}
    with database.begin() as connection:
        connection.execute(inbox.insert().values(**row, occurred_at=datetime.now(UTC)))


def failing(database: Database) -> list[tuple[str, int]]:
    with database.read() as connection:
        return [(each.event_id, each.attempt) for each in failing_events(connection)]


def test_events_whose_latest_attempt_is_to_be_repeated_are_failing(database: Database) -> None:
    retried, dead, handled, redriven, failing_again = (str(uuid4()) for _ in range(5))
    fail(database, retried, "retried", "retried")
    fail(database, dead, "retried", "dead")
    fail(database, handled, "retried")
    handle(database, handled)
    fail(database, redriven, "retried", failures.REDRIVEN)
    fail(database, failing_again, "retried", failures.REDRIVEN)
    fail(database, failing_again, "retried", replays=1)
    fail(database, "sha256:of-no-event", "retried")

    assert failing(database) == [
        (retried, 2),
        (failing_again, 1),
        ("sha256:of-no-event", 1),
    ]


def test_more_events_than_one_batch_are_read_and_share_their_stack(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_BATCH", 2)
    ids = [str(uuid4()) for _ in range(5)]
    for each in ids:
        fail(database, each, "retried")
    handle(database, ids[1])

    with database.read() as connection:
        found = list(failing_events(connection))

    assert [each.event_id for each in found] == [ids[0], *ids[2:]]
    assert len({id(each.traceback) for each in found}) == 1


def test_the_first_failure_is_that_since_the_last_redrive(database: Database) -> None:
    event_id = str(uuid4())
    fail(database, event_id, "retried", failures.REDRIVEN)
    fail(database, event_id, "retried", "retried", replays=1)

    with database.read() as connection:
        [event] = failing_events(connection)
        attempts = failures.find(connection, [event_id])

    assert event.first_failed_at == attempts[2]["failed_at"]
    assert event.failed_at == attempts[3]["failed_at"]
