"""Many dead letters, large ones, ones that lie, and retries that break off half-way."""

import json
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from shared.errors import BrokerUnavailable, OperationFailed
from shared.events import uuid7
from shared.messaging.codec import encode
from shared.messaging.embedded import EmbeddedBroker
from shared.messaging.identity import Identity
from shared.messaging.ports.broker import Depth
from shared.messaging.ports.consumer import Delivery, Outcome
from shared.messaging.ports.publisher import Message
from shared.messaging.topology import Topology
from shared.operations.dead_letters import retry as retrying
from shared.operations.dead_letters.dead_queue import DeadQueue
from shared.operations.dead_letters.letter import Held, Letter
from shared.operations.dead_letters.listing import grouped, letter_details
from shared.operations.dead_letters.retry import Retried, discard, retry
from shared.storage import failures, inbox, table_digests
from shared.storage.database import Database
from shared.storage.failures import Failure, FinalFailure
from shared.storage.migrating import migrate
from tests.support.counting import ThingHappened, counting

SERVICE = counting()


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[DeadQueue]:
    broker = EmbeddedBroker(tmp_path / "broker.db")
    broker.set_up(Topology(queues=(SERVICE.queue(),)))
    database = Database(f"sqlite:///{tmp_path / 'counting.db'}")
    migrate(database, SERVICE.migrations)
    yield DeadQueue(SERVICE, broker, database)
    broker.close()
    database.close()


def bury(dead: DeadQueue, messages: Sequence[Message]) -> None:
    """Let these die unhandled."""
    publisher = dead.broker.publisher()
    for start in range(0, len(messages), 1000):
        publisher.publish(messages[start : start + 1000])
    publisher.close()
    consumer = dead.broker.consumer("counting", prefetch=len(messages), slow_start=False)
    while taken := consumer.take(1000, wait=0):
        consumer.settle([(each, Outcome.DEAD) for each in taken])
    consumer.close()


def letter(event: ThingHappened, *, body: bytes | None = None, event_id: str = "") -> Message:
    return Message(
        event_id=event_id or str(event.event_id),
        topic=event.topic,
        type=event.type,
        body=encode(event, source="elsewhere") if body is None else body,
        source="elsewhere",
        only_to="counting",
    )


def things(count: int) -> list[ThingHappened]:
    return [ThingHappened(name=f"thing-{number}") for number in range(count)]


def waiting(dead: DeadQueue) -> list[UUID]:
    """What waits for the service, in the order of delivery."""
    consumer = dead.broker.consumer("counting", prefetch=20_000, slow_start=False)
    ids = []
    while taken := consumer.take(1000, wait=0):
        ids += [UUID(each.event_id) for each in taken]
    consumer.close()
    return ids


def test_ten_thousand_letters_are_listed_and_retried(dead: DeadQueue) -> None:
    events = things(10_000)
    bury(dead, [letter(each) for each in reversed(events)])

    [group] = grouped(dead)
    done = retry(dead)

    assert (group.count, group.error) == (10_000, "rejected")
    assert done == Retried(retried=10_000)
    assert dead.broker.depth("counting.dead") == Depth(ready=0, consumers=1)
    in_order = sorted(events, key=lambda each: (each.occurred_at, each.event_id))
    assert waiting(dead) == [each.event_id for each in in_order]


def test_memory_is_bounded_however_large_letters_are(dead: DeadQueue) -> None:
    large = [ThingHappened(name=f"thing-{n}", secret="x" * 1_000_000) for n in range(100)]
    for start in range(0, 100, 10):
        bury(dead, [letter(each) for each in large[start : start + 10]])

    tracemalloc.start()
    try:
        grouped(dead)
        done = retry(dead)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert done.retried == 100
    assert peak_bytes < 50_000_000  # half of what they have


class Breaking(EmbeddedBroker):
    """A broker that takes one window, and then is gone."""

    windows = 1

    def publisher(self) -> "Breaking":  # type: ignore[override]
        self.taker = super().publisher()
        return self

    def publish(self, messages: Sequence[Message]) -> list[str | None]:
        if self.windows == 0:
            raise BrokerUnavailable
        self.windows -= 1
        return self.taker.publish(messages)


def test_a_retry_that_breaks_off_loses_nothing_and_can_be_done_again(
    dead: DeadQueue, tmp_path: Path
) -> None:
    events = things(250)
    bury(dead, [letter(each) for each in events])
    breaking = DeadQueue(SERVICE, Breaking(tmp_path / "broker.db"), dead.database)

    with pytest.raises(BrokerUnavailable):
        retry(breaking)
    breaking.broker.__class__ = EmbeddedBroker
    breaking.broker.close()

    assert dead.broker.depth("counting.dead").ready == 150
    assert retry(dead).retried == 150
    assert sorted(waiting(dead)) == sorted(each.event_id for each in events)


def test_what_was_published_and_not_settled_is_a_duplicate_when_done_again(
    dead: DeadQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    [event] = things(1)
    bury(dead, [letter(event)])
    with monkeypatch.context() as killed:
        killed.setattr(DeadQueue, "settle", lambda *_: None)  # the process ends before it
        assert retry(dead).retried == 1
    with dead.database.begin() as connection:  # the service handles the copy
        inbox.enter(connection, [event])

    assert retry(dead) == Retried(duplicates=1)

    assert dead.broker.depth("counting.dead").ready == 0


def test_a_retry_of_a_letter_that_lies_notes_nothing_about_another(dead: DeadQueue) -> None:
    liar, other = things(2)
    bury(dead, [letter(liar, event_id=str(other.event_id))])
    for each in (liar, other):
        fail(dead, each)

    retry(dead)

    with dead.database.read() as connection:
        assert table_digests.dead_event_ids(connection) == {str(other.event_id)}


def fail(dead: DeadQueue, event: ThingHappened) -> None:
    failure = Failure(
        event_id=str(event.event_id),
        event_type=event.type,
        subject=None,
        attempt=1,
        replays=0,
        outcome="dead",
        error="Impossible",
        message="why",
        traceback="where",
    )
    with dead.database.begin() as connection:
        failures.record(connection, failure)


def test_a_discard_that_ends_before_it_settles_can_be_done_again(
    dead: DeadQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    [event] = things(1)
    bury(dead, [letter(event)])
    with monkeypatch.context() as killed:
        killed.setattr(DeadQueue, "settle", lambda *_: None)
        discard(dead, str(event.event_id), reason="first", who="jo")
    assert grouped(dead)[0].error == "discarded"

    discard(dead, str(event.event_id), reason="second", who="al")

    assert grouped(dead) == []
    found = letter_details(dead, str(event.event_id))
    assert (found["reason"], found["discarded_by"]) == ("first", "jo")


def test_letters_that_somebody_takes_while_one_begins_to_look_are_missed(
    dead: DeadQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(dead, [letter(each) for each in things(3)])
    monkeypatch.setattr("shared.operations.dead_letters.dead_queue.SILENCE", 0.01)
    monkeypatch.setattr(dead.broker, "depth", lambda _: Depth(ready=5, consumers=0))

    with pytest.raises(OperationFailed, match="somebody else looks"):
        grouped(dead)


def test_what_has_no_message_id_is_known_by_its_event(dead: DeadQueue) -> None:
    first, second = things(2)
    bury(dead, [replaced(letter(each), event_id="") for each in (first, second)])
    fail(dead, first)

    errors = {each.id: each.error for each, _ in dead.letters()}

    assert errors == {str(first.event_id): "Impossible", str(second.event_id): "rejected"}
    assert retry(dead, name=str(second.event_id)).retried == 1


def test_windows_are_bounded_in_number_and_bytes(
    dead: DeadQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(dead, [letter(each) for each in things(5)])
    monkeypatch.setattr(retrying, "_WINDOW_BYTES", 1)
    told: list[tuple[int, int]] = []

    retry(dead, progress=lambda *each: told.append(each))

    assert told == [(number, 5) for number in range(1, 6)]


def delivery(**differing: object) -> Delivery:
    fields: dict[str, object] = {
        "queue": "counting.dead",
        "body": b"{",
        "event_id": "",
        "type": "",
        "attempt": 1,
        "replays": 0,
        "token": None,
    }
    return Delivery(**fields | differing)  # type: ignore[arg-type]  # a row of the table


@pytest.mark.parametrize(
    ("differing", "name"),
    [
        pytest.param({"event_id": "note-1"}, "note-1", id="plain"),
        pytest.param({"event_id": "jane@example.com"}, "sha256:021fb596db81", id="address"),
        pytest.param({"event_id": "a\nb"}, "sha256:021fb596db81", id="line-break"),
        pytest.param({"event_id": ""}, "sha256:021fb596db81", id="empty"),
        pytest.param({"event_id": "x" * 101}, "sha256:021fb596db81", id="long"),
        pytest.param({"event_id": "Jane Doe, Elm Street 1"}, "sha256:021fb596db81", id="words"),
    ],
)
def test_what_is_no_event_is_named_by_what_can_be_shown(
    differing: dict[str, object], name: str
) -> None:
    assert Identity.of(delivery(**differing)).id == name


def letter_of(held: Delivery, causes: Mapping[int, FinalFailure] | None = None) -> Letter:
    nobody: Any = None
    return Letter.of(Identity.of(held), Held(nobody, held), outcome=None, causes=causes or {})


def test_only_a_brokers_own_words_are_reasons() -> None:
    [event] = things(1)
    body = encode(event, source="elsewhere")

    def error(reason: str) -> str:
        return letter_of(delivery(body=body, reason=reason)).error

    assert [error(each) for each in ("rejected", "applied", "x" * 99)] == [
        "rejected",
        "unknown",
        "unknown",
    ]


def test_the_cause_is_that_of_the_last_replay() -> None:
    [event] = things(1)
    body = encode(event, source="elsewhere")
    causes = {number: FinalFailure(f"Error{number}", event.occurred_at) for number in range(3)}

    def error(replays: int) -> str:
        return letter_of(delivery(body=body, replays=replays), causes).error

    assert [error(each) for each in (0, 1, 2, 9)] == ["Error0", "Error1", "Error2", "Error2"]


def test_a_letter_of_a_type_unknown_here_is_an_event_all_the_same(dead: DeadQueue) -> None:
    [event] = things(1)
    content = json.loads(encode(event, source="elsewhere"))
    name = str(uuid7())
    body = json.dumps(content | {"id": name, "type": "moon.risen.v9"}).encode()
    bury(dead, [letter(event, body=body, event_id="a lie")])

    [group] = grouped(dead)
    found = letter_details(dead, name)

    assert (group.event_type, group.example) == ("moon.risen.v9", name)
    assert found["data"]["name"] == "thing-0"
