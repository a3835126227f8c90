from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from shared.errors import (
    CommitOutcomeUnknown,
    DependencyUnavailable,
    PermanentFailure,
    TransientFailure,
)
from shared.events import DomainEvent
from shared.messaging.authenticity import BrokerUsers
from shared.messaging.codec import Contracts, Envelope, encode, event_of
from shared.messaging.ports.consumer import Delivery, Outcome
from shared.messaging.topology import Retry
from shared.runtime.reactor import BatchResult, Reactor
from shared.storage.database import Database
from shared.storage.migrating import migrate
from shared.storage.tables import failures, inbox, outbox, retried_events
from tests.support.counting import CountStore, ThingCounted, ThingHappened, Work, count, counting
from tests.support.deliveries import delivery_of

DONE, RETRY, DEAD, REQUEUE = Outcome.DONE, Outcome.RETRY, Outcome.DEAD, Outcome.REQUEUE


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'counting.db'}")
    migrate(database, counting().migrations)
    yield database
    database.close()


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def reactor(database: Database, handler: Any = count, **parts: Any) -> Reactor:
    service = counting(handler)
    return Reactor(service=service, database=database, retry=Retry(max_retries=2), **parts)


def delivered(event: ThingHappened, *, attempt: int = 1) -> Delivery:
    return delivery_of(event, queue="counting", attempt=attempt)


def counted(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return CountStore(connection, database).counted()


def rows(database: Database, table: Any) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(table)).mappings())


def outcomes(batch: BatchResult) -> list[Outcome]:
    return [each.outcome for each in batch.results]


def failing_for(name: str, error: Exception) -> Any:
    """A handler that fails for things with this name."""

    def fail(event: ThingHappened, work: Work) -> None:
        count(event, work)
        if event.name == name:
            raise error

    return fail


def test_inbox_effects_and_outgoing_event_are_committed_together(database: Database) -> None:
    event = ThingHappened(name="a")

    batch = reactor(database).react([delivered(event)])

    assert outcomes(batch) == [DONE]
    assert counted(database) == {"a": 1}
    assert [row["event_id"] for row in rows(database, inbox)] == [event.event_id]
    assert [row["event_type"] for row in rows(database, outbox)] == ["thing.counted.v1"]


def test_an_outgoing_event_belongs_to_the_conversation_of_its_cause(database: Database) -> None:
    first = ThingHappened(name="a")

    reactor(database).react([delivered(first)])

    (row,) = rows(database, outbox)
    assert row["correlation_id"] == first.event_id
    assert f'"causationid":"{first.event_id}"' in row["body"]


def test_a_redelivered_event_has_no_second_effect(database: Database) -> None:
    delivery = delivered(ThingHappened(name="a"))
    reactor(database).react([delivery])

    batch = reactor(database).react([delivery])

    assert outcomes(batch) == [DONE]
    assert batch.results[0].duplicate
    assert counted(database) == {"a": 1}
    assert len(rows(database, outbox)) == 1


def test_the_same_event_twice_in_one_batch_has_one_effect(database: Database) -> None:
    delivery = delivered(ThingHappened(name="a"))

    batch = reactor(database).react([delivery, delivery, delivery])

    assert [each.duplicate for each in batch.results] == [False, True, True]
    assert counted(database) == {"a": 1}


def test_a_batch_is_one_transaction(database: Database) -> None:
    begun = []
    begin = database.begin

    def counting_begin() -> Any:
        begun.append(1)
        return begin()

    database.begin = counting_begin  # type: ignore[method-assign]

    batch = reactor(database).react([delivered(ThingHappened(name="a")) for _ in range(50)])

    assert outcomes(batch) == [DONE] * 50
    assert len(begun) == 1
    assert counted(database) == {"a": 50}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        pytest.param(TransientFailure("later"), RETRY, id="transient"),
        pytest.param(PermanentFailure("never"), DEAD, id="permanent"),
        pytest.param(KeyError("what"), RETRY, id="unforeseen"),
    ],
)
def test_a_failing_message_does_not_affect_the_others_of_its_batch(
    database: Database, error: Exception, outcome: Outcome
) -> None:
    events = [ThingHappened(name=name) for name in ("a", "bad", "b")]

    batch = reactor(database, failing_for("bad", error)).react([delivered(e) for e in events])

    assert outcomes(batch) == [DONE, outcome, DONE]
    assert counted(database) == {"a": 1, "b": 1}
    (record,) = rows(database, failures)
    assert record["event_id"] == str(events[1].event_id)
    assert record["error"] == type(error).__name__
    assert record["subject"] == "bad"


def test_a_failed_attempt_is_rolled_back_except_for_its_record(database: Database) -> None:
    reactor(database, failing_for("bad", TransientFailure("later"))).react(
        [delivered(ThingHappened(name="bad"))]
    )

    assert counted(database) == {}
    assert rows(database, inbox) == []
    assert rows(database, outbox) == []
    assert len(rows(database, failures)) == 1


def test_the_last_failed_attempt_is_recorded_as_dead(database: Database) -> None:
    failing = reactor(database, failing_for("bad", TransientFailure("later")))
    event = ThingHappened(name="bad")

    for attempt in (1, 2, 3):
        failing.react([delivered(event, attempt=attempt)])

    assert [row["outcome"] for row in rows(database, failures)] == ["retried", "retried", "dead"]


@pytest.mark.parametrize("attempt", [2, 3], ids=["handled", "dead"])
def test_an_event_is_listed_as_retried_until_it_is_handled_or_dead(
    database: Database, attempt: int
) -> None:
    event = ThingHappened(name="a")
    failing = reactor(database, failing_for("a", TransientFailure("not now")))
    failing.react([delivered(event), delivered(ThingHappened(name="b"))])
    listed = [row["event_id"] for row in rows(database, retried_events)]

    last = reactor(database) if attempt == 2 else failing
    last.react([delivered(event, attempt=attempt)])

    assert listed == [str(event.event_id)]
    assert rows(database, retried_events) == []


def test_a_handler_knows_its_last_attempt(database: Database) -> None:
    seen = []

    def look(event: ThingHappened, work: Work) -> None:
        del event
        seen.append((work.attempt, work.is_last_attempt))

    for attempt in (1, 2, 3):
        reactor(database, look).react([delivered(ThingHappened(name="a"), attempt=attempt)])

    assert seen == [(1, False), (2, False), (3, True)]


def unreadable(kind: str) -> bytes:
    good = encode(ThingHappened(name="a"), source="elsewhere")
    return {
        "not JSON": b"rubbish",
        "no CloudEvent": b"{}",
        "no such version": good.replace(b"happened.v1", b"happened.v2"),
        "no version": good.replace(b"happened.v1", b"happened"),
        "not subscribed": good.replace(b"thing.happened", b"thing.forgotten"),
        "too large": b" " * (1024 * 1024 + 1),
        "a missing field": good.replace(b'"name"', b'"nome"'),
        "no UUID": good.replace(b'"id":"', b'"id":"z'),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("not JSON", "MalformedEvent"),
        ("no CloudEvent", "MalformedEvent"),
        ("too large", "EventTooLarge"),
        ("a missing field", "MalformedEvent"),
        ("no UUID", "MalformedEvent"),
    ],
)
def test_a_message_that_cannot_be_read_is_dead_and_the_others_are_handled(
    database: Database, kind: str, error: str
) -> None:
    good = delivered(ThingHappened(name="good"))
    topic = "thing.forgotten" if kind == "not subscribed" else good.topic
    body = unreadable(kind)
    bad = replace(good, body=body, topic=topic, event_id="x" * 1000, type="a@b.example")

    batch = reactor(database).react([bad, good])

    assert {each.outcome for each in batch.results if each.delivery is bad} == {DEAD}
    assert counted(database) == {"good": 1}
    (record,) = rows(database, failures)
    assert record["error"] == error
    assert "a@b.example" not in str(record)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("no such version", "UnsupportedVersion"),
        ("no version", "NotSubscribed"),
        ("not subscribed", "NotSubscribed"),
    ],
)
def test_a_type_or_version_that_this_process_does_not_know_is_dead_at_the_limit_only(
    database: Database, kind: str, error: str
) -> None:
    good = delivered(ThingHappened(name="good"))
    topic = "thing.forgotten" if kind == "not subscribed" else good.topic
    first = replace(good, body=unreadable(kind), topic=topic)
    reacting = reactor(database)

    [early] = reacting.react([first]).results
    [late] = reacting.react([replace(first, attempt=reacting.retry.max_retries + 1)]).results

    assert (early.outcome, early.is_dead) == (RETRY, False)
    assert (late.outcome, late.is_dead) == (RETRY, True)
    assert type(late.error).__name__ == error
    assert [row["outcome"] for row in rows(database, failures)] == ["retried", "dead"]


def test_an_event_older_than_the_inbox_is_not_applied(database: Database) -> None:
    old = ThingHappened(name="old", occurred_at=datetime.now(UTC) - timedelta(days=8))

    batch = reactor(database, inbox_horizon=timedelta(days=7)).react([delivered(old)])

    assert outcomes(batch) == [DEAD]
    assert counted(database) == {}
    assert rows(database, failures)[0]["error"] == "OlderThanTheInbox"


def test_a_message_on_which_decoding_fails_is_retried_and_the_others_are_handled(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = (ThingHappened(name=name) for name in ("good", "bad"))

    def convert(envelope: Envelope, contracts: Contracts) -> DomainEvent:
        if envelope.subject == "bad":
            raise KeyError("a converter has a mistake")
        return event_of(envelope, contracts)

    monkeypatch.setattr("shared.runtime.reactor.event_of", convert)

    batch = reactor(database).react([delivered(bad), delivered(good)])

    assert outcomes(batch) == [RETRY, DONE]
    assert counted(database) == {"good": 1}
    (record,) = rows(database, failures)
    assert (record["error"], record["subject"]) == ("KeyError", "bad")
    assert record["event_id"] == str(bad.event_id)


@contextmanager
def lost_in_commit(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every transaction loses the database in its commit."""

    @contextmanager
    def begin() -> Iterator[Any]:
        with Database.begin(database) as connection:
            yield connection
        raise CommitOutcomeUnknown

    with monkeypatch.context() as patch:
        patch.setattr(database, "begin", begin)
        yield


def test_a_database_lost_while_a_failure_is_recorded_is_unavailable(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = replace(delivered(ThingHappened(name="bad")), body=b"no event")

    with lost_in_commit(database, monkeypatch):
        batch = reactor(database).react([bad])

    assert outcomes(batch) == [REQUEUE]
    assert batch.unavailable is not None


def test_a_database_lost_while_earlier_attempts_are_recorded_is_unavailable(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lost_in_commit(database, monkeypatch):
        batch = reactor(database).react_alone(delivered(ThingHappened(name="a"), attempt=2))

    assert outcomes(batch) == [REQUEUE]
    assert batch.unavailable is not None
    assert counted(database) == {}


class UnavailableGateway:
    """A gateway that does not answer."""

    def probe(self) -> None:
        raise DependencyUnavailable("it is away")

    def close(self) -> None:
        """There is nothing to close."""


class AvailableGateway(UnavailableGateway):
    """A gateway that answers."""

    def probe(self) -> None:
        """Answer."""


def test_when_a_dependency_is_away_all_are_requeued_without_counting_an_attempt(
    database: Database,
) -> None:
    handler = failing_for("bad", DependencyUnavailable("it is away"))
    events = [ThingHappened(name=name) for name in ("a", "bad", "b")]

    batch = reactor(database, handler, gateway=UnavailableGateway()).react(
        [delivered(e) for e in events]
    )

    assert outcomes(batch) == [REQUEUE] * 3
    assert str(batch.unavailable) == "it is away"
    assert rows(database, failures) == []
    assert counted(database) == {}


def test_when_the_dependency_answers_the_failure_counts_for_the_message(database: Database) -> None:
    handler = failing_for("bad", DependencyUnavailable("it was away"))

    batch = reactor(database, handler, gateway=AvailableGateway()).react(
        [delivered(ThingHappened(name="bad"))]
    )

    assert outcomes(batch) == [RETRY]
    assert batch.unavailable is None
    assert len(rows(database, failures)) == 1


def test_concurrent_events_each_have_a_transaction_of_their_own(
    database: Database, executor: Executor
) -> None:
    events = [ThingHappened(name=name) for name in ("a", "bad", "b")]
    deliveries = [delivered(each) for each in (*events, events[0])]

    concurrent = reactor(database, failing_for("bad", ValueError()), executor=executor)
    batch = concurrent.react(deliveries)

    by_id = {each.delivery.event_id: each for each in batch.results if not each.duplicate}
    assert [by_id[str(each.event_id)].outcome for each in events] == [DONE, RETRY, DONE]
    assert sum(each.duplicate for each in batch.results) == 1
    assert counted(database) == {"a": 1, "b": 1}
    assert concurrent.watchdog.overrun(0) is None


def test_concurrent_events_on_one_subject_are_handled_in_order(
    database: Database, executor: Executor
) -> None:
    order: list[UUID] = []

    def note(event: ThingHappened, work: Work) -> None:
        del work
        order.append(event.event_id)

    events = [ThingHappened(name="same") for _ in range(8)]

    reactor(database, note, executor=executor).react([delivered(e) for e in events])

    assert order == [each.event_id for each in events]


def test_concurrent_events_that_were_handled_stay_so_when_a_dependency_fails(
    database: Database, executor: Executor
) -> None:
    handler = failing_for("bad", DependencyUnavailable("it is away"))
    events = [ThingHappened(name=name) for name in ("a", "bad", "bad", "b")]

    batch = reactor(database, handler, gateway=UnavailableGateway(), executor=executor).react(
        [delivered(each) for each in events]
    )

    by_id = {each.delivery.event_id: each.outcome for each in batch.results}
    assert [by_id[str(each.event_id)] for each in events] == [DONE, REQUEUE, REQUEUE, DONE]
    assert str(batch.unavailable) == "it is away"
    assert counted(database) == {"a": 1, "b": 1}


def test_a_service_cannot_publish_what_it_did_not_declare(database: Database) -> None:
    def forge(event: ThingHappened, work: Work) -> None:
        work.publish(event)

    batch = reactor(database, forge).react([delivered(ThingHappened(name="a"))])

    assert outcomes(batch) == [RETRY]
    assert rows(database, failures)[0]["error"] == "UndeclaredEvent"


def test_an_event_above_the_limit_rolls_back_what_would_publish_it(database: Database) -> None:
    def shout(event: ThingHappened, work: Work) -> None:
        work.store.count(event.name)
        work.publish(ThingCounted(name="a" * 1_100_000))

    batch = reactor(database, shout).react([delivered(ThingHappened(name="a"))])

    assert outcomes(batch) == [DEAD]
    assert counted(database) == {}
    (record,) = rows(database, failures)
    assert record["error"] == "OutgoingEventTooLarge"
    assert "thing.counted.v1" in record["message"]


def test_no_record_of_a_failure_contains_fields_of_the_event(database: Database) -> None:
    canary = "jane.canary@example.com, 12 Canary Row"

    def leak(event: ThingHappened, work: Work) -> None:
        del work
        raise ValueError(f"cannot use {event.secret}")

    reactor(database, leak).react([delivered(ThingHappened(name="a", secret=canary))])

    assert "canary" not in str(rows(database, failures)).lower()


def forged(event: ThingHappened) -> Delivery:
    """A copy that came under another routing key."""
    return delivery_of(event, queue="counting", topic="thing.counted")


def test_a_forged_event_is_dead_at_once_and_the_others_are_handled(database: Database) -> None:
    good, bad = ThingHappened(name="good"), ThingHappened(name="bad")

    batch = reactor(database).react([forged(bad), delivered(good)])

    assert {each.delivery.event_id: each.outcome for each in batch.results} == {
        str(good.event_id): DONE,
        str(bad.event_id): DEAD,
    }
    assert counted(database) == {"good": 1}
    (record,) = rows(database, failures)
    assert (record["error"], record["outcome"]) == ("ForgedEvent", "dead")
    assert "routing key thing.counted" in record["message"]


def test_a_forged_event_is_not_recorded_under_the_id_that_it_holds(database: Database) -> None:
    event = ThingHappened(name="a")

    reactor(database).react([forged(event)])
    reactor(database).react([delivered(event)])

    assert counted(database) == {"a": 1}
    (record,) = rows(database, failures)
    assert record["event_id"].startswith("sha256:")
    assert record["subject"] is None


@pytest.mark.parametrize(("user", "outcome"), [("elsewhere", DONE), ("counting", DEAD), ("", DEAD)])
def test_where_services_have_own_users_the_user_must_be_the_publisher(
    database: Database, user: str, outcome: Outcome
) -> None:
    delivery = replace(delivered(ThingHappened(name="a")), user=user)
    users = BrokerUsers(replaying=frozenset({"counting"}))

    assert outcomes(reactor(database, users=users).react([delivery])) == [outcome]


def conflicting(event: ThingHappened) -> Delivery:
    """An event with the same id and other content."""
    return delivered(event.model_copy(update={"secret": "other"}))


def test_an_event_with_a_known_id_and_other_content_is_dead_and_no_duplicate(
    database: Database,
) -> None:
    event, other = ThingHappened(name="a"), ThingHappened(name="b")
    reactor(database).react([delivered(event)])

    batch = reactor(database).react([conflicting(event), delivered(other), delivered(event)])

    assert outcomes(batch) == [DEAD, DONE, DONE]
    assert [each.duplicate for each in batch.results] == [False, False, True]
    assert counted(database) == {"a": 1, "b": 1}
    (record,) = rows(database, failures)
    assert record["error"] == "ConflictingEvent"
    assert record["event_id"] != str(event.event_id)


def test_of_two_events_with_one_id_in_a_batch_the_second_is_dead(database: Database) -> None:
    event = ThingHappened(name="a")

    batch = reactor(database).react([delivered(event), conflicting(event)])

    assert outcomes(batch) == [DONE, DEAD]
    assert counted(database) == {"a": 1}
    assert rows(database, failures)[0]["error"] == "ConflictingEvent"
