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


def waiting(database: Database) -> list[str]:
    """The subjects of what would be claimed now, looked up and not marked."""
    with outbox.claim(database, 100) as claimed:
        numbers = [row.number for row in claimed.rows]
    with database.read() as connection:
        query = select(table.c.number, table.c.subject).where(table.c.number.in_(numbers))
        subjects = {row.number: row.subject for row in connection.execute(query)}
    return [subjects[number] for number in numbers]


def backlog(database: Database) -> outbox.Backlog:
    with database.read() as connection:
        return outbox.backlog(connection)


def send(database: Database, most: int = 100) -> int:
    with outbox.claim(database, most) as claimed:
        claimed.sent += [row.number for row in claimed.rows]
    return len(claimed.rows)


def test_what_was_written_is_claimed_oldest_first(database: Database) -> None:
    write(database, "a", "b")
    write(database, "c")

    assert waiting(database) == ["a", "b", "c"]


def test_a_row_has_all_that_a_message_needs(database: Database) -> None:
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


def test_no_more_is_claimed_than_was_asked_for(database: Database) -> None:
    write(database, "a", "b", "c")

    with outbox.claim(database, 2) as claimed:
        assert len(claimed.rows) == 2


def test_what_is_rolled_back_is_never_claimed(database: Database) -> None:
    with suppress(ZeroDivisionError), database.begin() as connection:
        outbox.write(connection, outgoing([ThingHappened(name="a")]))
        raise ZeroDivisionError

    assert waiting(database) == []


def test_only_what_was_sent_is_marked(database: Database) -> None:
    write(database, "a", "b")

    assert send(database, 1) == 1

    assert waiting(database) == ["b"]


def test_what_is_refused_is_set_aside_with_the_reason_and_the_rest_goes_on(
    database: Database,
) -> None:
    write(database, "a", "b")
    with outbox.claim(database, 1) as claimed:
        claimed.refused[claimed.rows[0].number] = "too large"

    assert waiting(database) == ["b"]
    with database.read() as connection:
        kept = connection.execute(select(table.c.subject, table.c.refused, table.c.sent_at)).first()
    assert kept == ("a", "too large", None)


def test_a_claim_that_fails_marks_nothing_and_lets_go(database: Database) -> None:
    write(database, "a")
    with suppress(ZeroDivisionError), outbox.claim(database, 1) as claimed:
        claimed.sent.append(claimed.rows[0].number)
        raise ZeroDivisionError

    assert waiting(database) == ["a"]


def test_of_two_relays_on_a_file_one_sends_at_a_time(database: Database) -> None:
    write(database, "a")
    other = Database(f"sqlite:///{database.path}")

    with outbox.claim(database, 10) as first, outbox.claim(other, 10) as second:
        assert (len(first.rows), len(second.rows)) == (1, 0)

    assert waiting(other) == ["a"]
    other.close()


def test_the_service_writes_while_its_relay_sends(database: Database) -> None:
    write(database, "a")

    with outbox.claim(database, 10) as claimed:
        write(database, "b")
        claimed.sent += [row.number for row in claimed.rows]

    assert waiting(database) == ["b"]


def test_the_backlog_counts_what_waits_and_what_was_refused(database: Database) -> None:
    write(database, "a", "b", "c", "d")
    send(database, 1)
    with outbox.claim(database, 1) as claimed:
        claimed.refused[claimed.rows[0].number] = "too large"

    found = backlog(database)

    assert (found.depth, found.refused) == (2, 1)


def test_the_backlogs_age_is_that_of_the_oldest_that_waits(database: Database) -> None:
    write(database, "sent", "a", "b")
    send(database, 1)
    with database.begin() as connection:
        _age(connection, "sent", timedelta(days=9))
        _age(connection, "a", timedelta(hours=2))

    found = backlog(database)

    assert 7_200 <= found.age < 7_200 + 60


def _age(connection: Connection, subject: str, by: timedelta) -> None:
    created = datetime.now(UTC) - by
    connection.execute(update(table).where(table.c.subject == subject).values(created_at=created))


def test_an_empty_outbox_has_no_age(database: Database) -> None:
    assert backlog(database) == outbox.Backlog(depth=0, age=0.0, refused=0)


def test_what_was_sent_is_forgotten_after_a_while_and_nothing_else_is(database: Database) -> None:
    write(database, "sent", "refused", "waiting")
    send(database, 1)
    with outbox.claim(database, 1) as claimed:
        claimed.refused[claimed.rows[0].number] = "too large"
    tomorrow = datetime.now(UTC) + timedelta(days=1)

    with database.begin() as connection:
        forgotten = outbox.prune(connection, before=tomorrow)
        left = list(connection.execute(select(table.c.subject).order_by(table.c.number)).scalars())

    assert (forgotten, left) == (1, ["refused", "waiting"])


def test_what_was_sent_just_now_is_not_forgotten(database: Database) -> None:
    write(database, "sent")
    send(database)

    with database.begin() as connection:
        forgotten = outbox.prune(connection, before=datetime.now(UTC) - timedelta(days=1))

    assert forgotten == 0
