"""The records of failed attempts, discards and rejected events, on both kinds of database."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.storage import discards, failures, outbox, table_digests
from shared.storage.database import Database
from shared.storage.failures import Failure
from shared.storage.migrating import migrate
from shared.storage.outbox import Outgoing
from tests.support.counting import ThingHappened


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.docker)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'some.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    database = Database(url)
    migrate(database, tmp_path / "no-migrations")
    yield database
    database.close()


def record_failure(database: Database, error: str, **changed: object) -> None:
    fields = {
        "event_id": "one",
        "event_type": "thing.happened.v1",
        "subject": None,
        "attempt": 1,
        "replays": 0,
        "outcome": "retried",
        "error": error,
        "message": "why",
        "traceback": "where",
    }
    with database.begin() as connection:
        failures.record(connection, Failure(**fields | changed))  # type: ignore[arg-type]  # a row


def test_the_cause_of_each_replay_is_its_dead_attempt_or_else_its_last_failure(
    database: Database,
) -> None:
    record_failure(database, "First")
    record_failure(database, "End", attempt=2, outcome="dead")
    record_failure(database, "Late", attempt=1)  # of a duplicate, after it was dead
    record_failure(database, "Again", replays=1)
    record_failure(database, "ProcessEnded", replays=1, attempt=2)
    record_failure(database, "Other", event_id="two")

    with database.read() as connection:
        causes = failures.final_failures(connection, ["one", "nobody"])

    assert {replays: cause.error for replays, cause in causes["one"].items()} == {
        0: "End",
        1: "ProcessEnded",
    }
    assert list(causes) == ["one"]
    assert causes["one"][0].failed_at.tzinfo is UTC


def test_attempts_are_listed_oldest_first(database: Database) -> None:
    record_failure(database, "First")
    record_failure(database, "Second", attempt=2)

    with database.read() as connection:
        attempts = failures.find(connection, ["one"])

    assert [(each["attempt"], each["error"]) for each in attempts] == [(1, "First"), (2, "Second")]
    assert attempts[0]["traceback"] == "where"


def test_only_recent_dead_attempts_are_counted(database: Database) -> None:
    record_failure(database, "End", outcome="dead")
    record_failure(database, "Retried")
    now = datetime.now(UTC)

    with database.read() as connection:
        assert failures.count_dead(connection, since=now - timedelta(minutes=1)) == 1
        assert failures.count_dead(connection, since=now + timedelta(minutes=1)) == 0


def test_a_redriven_attempt_is_marked_and_later_replays_are_not(database: Database) -> None:
    record_failure(database, "Retried")
    record_failure(database, "End", attempt=2, outcome="dead")
    record_failure(database, "Other", event_id="two", outcome="dead")
    record_failure(database, "Again", replays=1, outcome="dead")

    with database.begin() as connection:
        failures.note_redriven(connection, {("one", 0), ("nobody", 0)})
        failures.note_redriven(connection, [])

    with database.read() as connection:
        outcomes = {
            each["error"]: each["outcome"] for each in failures.find(connection, ["one", "two"])
        }
        causes = failures.final_failures(connection, ["one"])
        assert table_digests.dead_event_ids(connection) == {"one", "two"}
    assert outcomes == {"Retried": "retried", "End": "sent again", "Other": "dead", "Again": "dead"}
    assert causes["one"][0].error == "End"


def discard(database: Database, letter_id: str, reason: str) -> None:
    with database.begin() as connection:
        record = discards.Discard(
            letter_id=letter_id,
            event_type="thing.happened.v1",
            subject=None,
            reason=reason,
            discarded_by="jo@desk",
        )
        discards.record(connection, database, record)


def test_a_discard_is_recorded_once_and_found_by_the_suffix_of_its_id(database: Database) -> None:
    for reason in ("first", "second"):
        discard(database, "one-100%", reason)
    discard(database, "two-100_", "other")

    with database.read() as connection:
        record = discards.find(connection, "100%", by_end=True)
        assert discards.find(connection, "0_", by_end=True) is not None
        assert discards.find(connection, "three", by_end=True) is None
        assert discards.find(connection, "100%", by_end=False) is None
        assert discards.find(connection, "two-100_", by_end=False) is not None

    assert record is not None
    assert (record.letter_id, record.reason, record.discarded_by) == (
        "one-100%",
        "first",
        "jo@desk",
    )
    assert record.discarded_at is not None


def test_a_suffix_of_several_ids_finds_none(database: Database) -> None:
    discard(database, "one-1", "r")
    discard(database, "two-1", "r")

    with database.read() as connection:
        assert discards.find(connection, "-1", by_end=True) is None


def test_rejected_events_are_listed_and_can_be_sent_again(database: Database) -> None:
    events = [ThingHappened(name=f"thing-{number}") for number in range(3)]
    with database.begin() as connection:
        outbox.write(connection, [Outgoing(each, b"{}") for each in events])
    with outbox.claim(database, 10) as claim:
        claim.rejected.update({claim.rows[0].number: "too large", claim.rows[1].number: "no"})
        claim.sent.append(claim.rows[2].number)

    with database.read() as connection:
        rejected = outbox.rejected_events(connection, 1)
    with database.begin() as connection:
        assert outbox.resend(connection, database) == 2
        assert outbox.resend(connection, database) == 0

    assert rejected == [(str(events[0].event_id), "thing.happened.v1", "too large")]
    with outbox.claim(database, 10) as again:
        assert [row.event_id for row in again.rows] == [each.event_id for each in events[:2]]
