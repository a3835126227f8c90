from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, select, update

from shared.messaging.codec import encode
from shared.storage import outbox
from shared.storage.database import Database
from shared.storage.tables import outbox as table
from tests.support.counting import ThingHappened


def write(database: Database, *names: str) -> list[ThingHappened]:
    events = [ThingHappened(name=name) for name in names]
    with database.begin() as connection:
        outbox.write(connection, outgoing(events))
    return events


def outgoing(events: Sequence[ThingHappened]) -> list[outbox.Outgoing]:
    return [outbox.Outgoing(each, encode(each, source="counting")) for each in events]


def pending(database: Database) -> list[str]:
    """The subjects of the rows that a claim gets; they stay pending."""
    with outbox.claim(database, 100) as claimed:
        numbers = [row.number for row in claimed.rows]
    with database.read() as connection:
        statement = select(table.c.number, table.c.subject).where(table.c.number.in_(numbers))
        subjects = {row.number: row.subject for row in connection.execute(statement)}
    return [subjects[number] for number in numbers]


def backlog(database: Database) -> outbox.Backlog:
    with database.read() as connection:
        return outbox.backlog(connection)


def send(database: Database, most: int = 100) -> int:
    with outbox.claim(database, most) as claimed:
        claimed.sent += [row.number for row in claimed.rows]
    return len(claimed.rows)


def test_events_are_claimed_oldest_first(database: Database) -> None:
    write(database, "a", "b")
    write(database, "c")

    assert pending(database) == ["a", "b", "c"]


def test_a_row_has_everything_that_a_message_needs(database: Database) -> None:
    (event,) = write(database, "a")

    with outbox.claim(database, 1) as claimed:
        (row,) = claimed.rows

    assert (row.event_id, row.topic, row.event_type) == (
        event.event_id,
        "thing.happened",
        "thing.happened.v1",
    )
    assert row.body.encode() == encode(event, source="counting")
    assert row.occurred_at == event.occurred_at


def test_a_claim_has_no_more_rows_than_its_limit(database: Database) -> None:
    write(database, "a", "b", "c")

    with outbox.claim(database, 2) as claimed:
        assert len(claimed.rows) == 2


def test_a_rolled_back_event_is_never_claimed(database: Database) -> None:
    with suppress(ZeroDivisionError), database.begin() as connection:
        outbox.write(connection, outgoing([ThingHappened(name="a")]))
        raise ZeroDivisionError

    assert pending(database) == []


def test_only_sent_events_are_marked(database: Database) -> None:
    write(database, "a", "b")

    assert send(database, 1) == 1

    assert pending(database) == ["b"]


def test_a_rejected_event_is_kept_with_the_reason_and_the_others_are_sent(
    database: Database,
) -> None:
    write(database, "a", "b")
    with outbox.claim(database, 1) as claimed:
        claimed.rejected[claimed.rows[0].number] = "too large"

    assert pending(database) == ["b"]
    with database.read() as connection:
        stored = connection.execute(
            select(table.c.subject, table.c.rejected, table.c.sent_at)
        ).first()
    assert stored == ("a", "too large", None)


def test_a_claim_that_fails_marks_nothing_and_releases_its_rows(database: Database) -> None:
    write(database, "a")
    with suppress(ZeroDivisionError), outbox.claim(database, 1) as claimed:
        claimed.sent.append(claimed.rows[0].number)
        raise ZeroDivisionError

    assert pending(database) == ["a"]


def test_only_one_relay_at_a_time_claims_from_a_file(database: Database) -> None:
    write(database, "a")
    other = Database(f"sqlite:///{database.path}")

    with outbox.claim(database, 10) as first, outbox.claim(other, 10) as second:
        assert (len(first.rows), len(second.rows)) == (1, 0)

    assert pending(other) == ["a"]
    other.close()


def test_the_service_can_write_while_its_relay_sends(database: Database) -> None:
    write(database, "a")

    with outbox.claim(database, 10) as claimed:
        write(database, "b")
        claimed.sent += [row.number for row in claimed.rows]

    assert pending(database) == ["b"]


def test_the_backlog_counts_pending_and_rejected_events(database: Database) -> None:
    write(database, "a", "b", "c", "d")
    send(database, 1)
    with outbox.claim(database, 1) as claimed:
        claimed.rejected[claimed.rows[0].number] = "too large"

    result = backlog(database)

    assert (result.depth, result.rejected) == (2, 1)


def test_the_backlogs_age_is_that_of_the_oldest_pending_event(database: Database) -> None:
    write(database, "sent", "a", "b")
    send(database, 1)
    with database.begin() as connection:
        _age(connection, "sent", timedelta(days=9))
        _age(connection, "a", timedelta(hours=2))

    result = backlog(database)

    assert 7_200 <= result.age < 7_200 + 60


def _age(connection: Connection, subject: str, by: timedelta) -> None:
    created = datetime.now(UTC) - by
    connection.execute(update(table).where(table.c.subject == subject).values(created_at=created))


def test_an_empty_outbox_has_no_age(database: Database) -> None:
    assert backlog(database) == outbox.Backlog(depth=0, age=0.0, rejected=0)
