"""What is recorded of dead letters, on both kinds of database."""

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


def fail(database: Database, error: str, **differing: object) -> None:
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
        failures.record(connection, Failure(**fields | differing))  # type: ignore[arg-type]  # a row


def test_the_cause_is_the_end_of_each_replay_or_else_the_last_failure(database: Database) -> None:
    fail(database, "First")
    fail(database, "End", attempt=2, outcome="dead")
    fail(database, "Late", attempt=1)  # of a copy, after the end
    fail(database, "Again", replays=1)
    fail(database, "ProcessEnded", replays=1, attempt=2)
    fail(database, "Other", event_id="two")

    with database.read() as connection:
        causes = failures.final_failures(connection, ["one", "nobody"])

    assert {replays: cause.error for replays, cause in causes["one"].items()} == {
        0: "End",
        1: "ProcessEnded",
    }
    assert list(causes) == ["one"]
    assert causes["one"][0].failed_at.tzinfo is UTC


def test_every_attempt_is_told_oldest_first(database: Database) -> None:
    fail(database, "First")
    fail(database, "Second", attempt=2)

    with database.read() as connection:
        found = failures.find(connection, ["one"])

    assert [(each["attempt"], each["error"]) for each in found] == [(1, "First"), (2, "Second")]
    assert found[0]["traceback"] == "where"


def test_only_recent_ends_are_counted(database: Database) -> None:
    fail(database, "End", outcome="dead")
    fail(database, "Retried")
    now = datetime.now(UTC)

    with database.read() as connection:
        assert failures.count_dead(connection, since=now - timedelta(minutes=1)) == 1
        assert failures.count_dead(connection, since=now + timedelta(minutes=1)) == 0


def test_what_was_sent_again_is_noted_and_what_died_of_it_later_is_not(database: Database) -> None:
    fail(database, "Retried")
    fail(database, "End", attempt=2, outcome="dead")
    fail(database, "Other", event_id="two", outcome="dead")
    fail(database, "Again", replays=1, outcome="dead")

    with database.begin() as connection:
        failures.note_redriven(connection, {("one", 0), ("nobody", 0)})
        failures.note_redriven(connection, [])

    with database.read() as connection:
        found = {
            each["error"]: each["outcome"] for each in failures.find(connection, ["one", "two"])
        }
        causes = failures.final_failures(connection, ["one"])
        assert table_digests.dead_event_ids(connection) == {"one", "two"}
    assert found == {"Retried": "retried", "End": "sent again", "Other": "dead", "Again": "dead"}
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


def test_a_discard_is_recorded_once_and_found_by_the_end_of_its_id(database: Database) -> None:
    for reason in ("first", "second"):
        discard(database, "one-100%", reason)
    discard(database, "two-100_", "other")

    with database.read() as connection:
        found = discards.find(connection, "100%", by_end=True)
        assert discards.find(connection, "0_", by_end=True) is not None
        assert discards.find(connection, "three", by_end=True) is None
        assert discards.find(connection, "100%", by_end=False) is None
        assert discards.find(connection, "two-100_", by_end=False) is not None

    assert found is not None
    assert (found.letter_id, found.reason, found.discarded_by) == ("one-100%", "first", "jo@desk")
    assert found.discarded_at is not None


def test_an_end_that_several_records_have_finds_none(database: Database) -> None:
    discard(database, "one-1", "r")
    discard(database, "two-1", "r")

    with database.read() as connection:
        assert discards.find(connection, "-1", by_end=True) is None


def test_what_was_set_aside_is_named_and_sent_after_all(database: Database) -> None:
    events = [ThingHappened(name=f"thing-{number}") for number in range(3)]
    with database.begin() as connection:
        outbox.write(connection, [Outgoing(each, b"{}") for each in events])
    with outbox.claim(database, 10) as claimed:
        claimed.rejected.update({claimed.rows[0].number: "too large", claimed.rows[1].number: "no"})
        claimed.sent.append(claimed.rows[2].number)

    with database.read() as connection:
        aside = outbox.rejected_events(connection, 1)
    with database.begin() as connection:
        assert outbox.resend(connection, database) == 2
        assert outbox.resend(connection, database) == 0

    assert aside == [(str(events[0].event_id), "thing.happened.v1", "too large")]
    with outbox.claim(database, 10) as again:
        assert [row.event_id for row in again.rows] == [each.event_id for each in events[:2]]
