from contextlib import suppress
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update

from shared.errors import ConflictingEvent
from shared.storage import inbox
from shared.storage.database import Database
from shared.storage.tables import inbox as table
from tests.support.counting import ThingHappened
from tests.support.deliveries import entry_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def happened(name: str = "a", *, at: datetime = NOW) -> ThingHappened:
    return ThingHappened(name=name, occurred_at=at)


def entered(database: Database, *events: ThingHappened, outcome: str = inbox.HANDLED) -> set[str]:
    """The names of those that were new."""
    names = {event.event_id: event.name for event in events}
    with database.begin() as connection:
        new = inbox.enter(connection, map(entry_of, events), outcome=outcome)
    return {names[each] for each in new}


def test_only_new_events_are_returned(database: Database) -> None:
    a, b, c = happened("a"), happened("b"), happened("c")
    entered(database, b)

    assert entered(database, c, b, a) == {"a", "c"}
    assert entered(database, a, b, c) == set()


def test_a_rolled_back_event_is_new_again(database: Database) -> None:
    event = happened()
    with suppress(ZeroDivisionError), database.begin() as connection:
        inbox.enter(connection, [entry_of(event)])
        raise ZeroDivisionError

    assert entered(database, event) == {"a"}


def test_a_large_batch_is_entered(database: Database) -> None:
    events = [happened(str(number)) for number in range(2_000)]

    assert len(entered(database, *events)) == 2_000


def test_it_stores_when_an_event_occurred_and_its_outcome(database: Database) -> None:
    event = happened()

    entered(database, event, outcome=inbox.DISCARDED)

    with database.read() as connection:
        row = connection.execute(select(table)).one()
    assert (row.event_id, row.event_type) == (event.event_id, "thing.happened.v1")
    assert (row.subject, row.outcome, row.occurred_at) == ("a", "discarded", NOW)


def test_it_returns_the_outcomes_of_known_events_and_ignores_malformed_ids(
    database: Database,
) -> None:
    known, unknown = happened("known"), happened("unknown")
    entered(database, known)

    with database.read() as connection:
        outcomes = inbox.outcomes(
            connection, [str(known.event_id), str(unknown.event_id), "no id", ""]
        )

    assert outcomes == {str(known.event_id): "handled"}


def test_a_copy_is_not_new_and_other_content_or_another_source_is_a_conflict(
    database: Database,
) -> None:
    event = happened()
    entered(database, event)
    entry = entry_of(event)

    assert entered(database, event) == set()
    for other in (entry._replace(digest="0" * 32), entry._replace(source="/other")):
        with (
            pytest.raises(ConflictingEvent, match=str(event.event_id)),
            database.begin() as connection,
        ):
            inbox.enter(connection, [other, entry_of(happened("b"))])


def test_one_statement_may_hold_copies_but_no_conflict(database: Database) -> None:
    event = happened()
    entry = entry_of(event)

    with pytest.raises(ConflictingEvent), database.begin() as connection:
        inbox.enter(connection, [entry, entry._replace(digest="0" * 32)])

    assert entered(database, event, event) == {"a"}


def test_an_event_of_which_no_digest_was_recorded_has_copies_only(database: Database) -> None:
    event = happened()
    entered(database, event)
    with database.begin() as connection:
        connection.execute(update(table).values(source=None, digest=None))

    with database.begin() as connection:
        new = inbox.enter(connection, [entry_of(event)._replace(digest="0" * 32)])

    assert new == set()


def test_a_subject_that_is_no_id_of_ours_is_stored_as_its_digest(database: Database) -> None:
    entered(database, happened("jane@example.com"))

    with database.read() as connection:
        assert connection.execute(select(table.c.subject)).scalar() == "sha256:8c87b489ce35"
