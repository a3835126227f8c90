"""Dead letters in large numbers, of large size, with false properties; interrupted retries."""

import json
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from shared.errors import BrokerUnavailable, OperationFailed
from shared.events import uuid7
from shared.messaging.codec import encode, message_of
from shared.messaging.embedded import EmbeddedBroker
from shared.messaging.identity import Identity
from shared.messaging.ports.broker import Depth
from shared.messaging.ports.consumer import Delivery, Outcome
from shared.messaging.ports.publisher import Message
from shared.messaging.topology import Topology
from shared.operations.dead_letters.dead_queue import DeadQueue
from shared.operations.dead_letters.discard import discard
from shared.operations.dead_letters.letter import DeadLetter
from shared.operations.dead_letters.listing import group_letters, letter_details
from shared.operations.dead_letters.retry import RetryResult, retry
from shared.storage import failures, inbox, table_digests
from shared.storage.database import Database
from shared.storage.failures import Failure, FinalFailure
from shared.storage.migrating import migrate
from tests.support.counting import ThingHappened, counting
from tests.support.deliveries import entry_of

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


def dead_letter(dead: DeadQueue, messages: Sequence[Message]) -> None:
    """Publish messages and move each to the dead queue without handling it."""
    publisher = dead.broker.publisher()
    for start in range(0, len(messages), 1000):
        publisher.publish(messages[start : start + 1000])
    publisher.close()
    consumer = dead.broker.consumer("counting", prefetch=len(messages), slow_start=False)
    while taken := consumer.take(1000, wait=0):
        consumer.settle([(each, Outcome.DEAD) for each in taken])
    consumer.close()


def message(event: ThingHappened, **changes: Any) -> Message:
    return replace(message_of(event, source="elsewhere"), only_to="counting", **changes)


def things(count: int) -> list[ThingHappened]:
    return [ThingHappened(name=f"thing-{number}") for number in range(count)]


def ready(dead: DeadQueue) -> list[UUID]:
    """The ids in the service's own queue, in the order of delivery."""
    consumer = dead.broker.consumer("counting", prefetch=20_000, slow_start=False)
    ids = []
    while taken := consumer.take(1000, wait=0):
        ids += [UUID(each.event_id) for each in taken]
    consumer.close()
    return ids


def test_ten_thousand_letters_are_listed_and_retried(dead: DeadQueue) -> None:
    events = things(10_000)
    dead_letter(dead, [message(each) for each in reversed(events)])

    [group] = group_letters(dead)
    done = retry(dead)

    assert (group.count, group.error) == (10_000, "rejected")
    assert done == RetryResult(retried=10_000)
    assert dead.broker.depth("counting.dead") == Depth(ready=0, consumers=1)
    in_order = sorted(events, key=lambda each: (each.occurred_at, each.event_id))
    assert ready(dead) == [each.event_id for each in in_order]


def test_memory_is_bounded_whatever_the_size_of_letters(dead: DeadQueue) -> None:
    large = [ThingHappened(name=f"thing-{n}", secret="x" * 1_000_000) for n in range(100)]
    for start in range(0, 100, 10):
        dead_letter(dead, [message(each) for each in large[start : start + 10]])

    tracemalloc.start()
    try:
        group_letters(dead)
        done = retry(dead)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert done.retried == 100
    assert peak_bytes < 50_000_000  # half the size of their bodies


class UnavailableAfterOneWindow(EmbeddedBroker):
    """A broker that accepts one window of messages and is unavailable afterwards."""

    windows = 1

    def publisher(self) -> "UnavailableAfterOneWindow":  # type: ignore[override]
        self.real_publisher = super().publisher()
        return self

    def publish(self, messages: Sequence[Message]) -> list[str | None]:
        if self.windows == 0:
            raise BrokerUnavailable
        self.windows -= 1
        return self.real_publisher.publish(messages)


def test_an_interrupted_retry_loses_nothing_and_can_be_run_again(
    dead: DeadQueue, tmp_path: Path
) -> None:
    events = things(250)
    dead_letter(dead, [message(each) for each in events])
    broker = UnavailableAfterOneWindow(tmp_path / "broker.db")

    with pytest.raises(BrokerUnavailable):
        retry(DeadQueue(SERVICE, broker, dead.database))
    EmbeddedBroker.close(broker)

    assert dead.broker.depth("counting.dead").ready == 150
    assert retry(dead).retried == 150
    assert sorted(ready(dead)) == sorted(each.event_id for each in events)


def test_a_letter_that_was_published_and_not_settled_is_a_duplicate_in_the_next_retry(
    dead: DeadQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    [event] = things(1)
    dead_letter(dead, [message(event)])
    with monkeypatch.context() as patched:
        patched.setattr(DeadQueue, "settle", lambda *_: None)  # as if the process had ended
        assert retry(dead).retried == 1
    with dead.database.begin() as connection:  # the service handles the copy
        inbox.enter(connection, [entry_of(event)])

    assert retry(dead) == RetryResult(duplicates=1)

    assert dead.broker.depth("counting.dead").ready == 0


def test_a_retry_marks_the_event_in_the_body_and_not_the_one_in_the_property(
    dead: DeadQueue,
) -> None:
    event, other = things(2)
    dead_letter(dead, [message(event, event_id=str(other.event_id))])
    for each in (event, other):
        record_death(dead, each)

    retry(dead)

    with dead.database.read() as connection:
        assert table_digests.dead_event_ids(connection) == {str(other.event_id)}


def record_death(dead: DeadQueue, event: ThingHappened) -> None:
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


def test_a_discard_that_ends_before_it_settles_can_be_repeated(
    dead: DeadQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    [event] = things(1)
    dead_letter(dead, [message(event)])
    with monkeypatch.context() as patched:
        patched.setattr(DeadQueue, "settle", lambda *_: None)
        discard(dead, str(event.event_id), reason="first", discarded_by="jo")
    assert group_letters(dead)[0].error == "discarded"

    discard(dead, str(event.event_id), reason="second", discarded_by="al")

    assert group_letters(dead) == []
    details = letter_details(dead, str(event.event_id))
    assert (details["reason"], details["discarded_by"]) == ("first", "jo")


def test_letters_that_another_consumer_takes_after_the_count_are_reported(
    dead: DeadQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_letter(dead, [message(each) for each in things(3)])
    monkeypatch.setattr("shared.operations.dead_letters.dead_queue.TAKE_TIMEOUT", 0.01)
    monkeypatch.setattr(dead.broker, "depth", lambda _: Depth(ready=5, consumers=0))

    with pytest.raises(OperationFailed, match="another process is reading"):
        group_letters(dead)


def test_a_letter_without_a_message_id_is_identified_by_its_event(dead: DeadQueue) -> None:
    first, second = things(2)
    dead_letter(dead, [message(each, event_id="") for each in (first, second)])
    record_death(dead, first)

    errors = {each.id: each.error for each, _ in dead.letters()}

    assert errors == {str(first.event_id): "Impossible", str(second.event_id): "rejected"}
    assert retry(dead, letter_id=str(second.event_id)).retried == 1


def test_windows_are_bounded_in_number_and_bytes(
    dead: DeadQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_letter(dead, [message(each) for each in things(5)])
    monkeypatch.setattr("shared.operations.dead_letters.retry._WINDOW_BYTES", 1)
    reported: list[tuple[int, int]] = []

    retry(dead, progress=lambda *numbers: reported.append(numbers))

    assert reported == [(number, 5) for number in range(1, 6)]


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
def test_a_message_that_is_not_an_event_has_an_id_that_is_safe_to_print(
    differing: dict[str, object], name: str
) -> None:
    assert Identity.of(delivery(**differing)).id == name


def letter_of(delivery: Delivery, causes: Mapping[int, FinalFailure] | None = None) -> DeadLetter:
    consumer: Any = None
    identity = Identity.of(delivery)
    return DeadLetter.of(delivery, consumer, identity=identity, outcome=None, causes=causes or {})


def test_only_a_brokers_own_reasons_are_shown() -> None:
    [event] = things(1)
    body = encode(event, source="elsewhere")

    def error(reason: str) -> str:
        return letter_of(delivery(body=body, reason=reason)).error

    assert [error(each) for each in ("rejected", "applied", "x" * 99)] == [
        "rejected",
        "unknown",
        "unknown",
    ]


def test_the_error_is_that_of_the_same_or_else_of_the_last_recorded_replay() -> None:
    [event] = things(1)
    body = encode(event, source="elsewhere")
    causes = {number: FinalFailure(f"Error{number}", event.occurred_at) for number in range(3)}

    def error(replays: int) -> str:
        return letter_of(delivery(body=body, replays=replays), causes).error

    assert [error(each) for each in (0, 1, 2, 9)] == ["Error0", "Error1", "Error2", "Error2"]


def test_a_letter_of_an_unknown_type_is_still_an_event(dead: DeadQueue) -> None:
    [event] = things(1)
    content = json.loads(encode(event, source="elsewhere"))
    name = str(uuid7())
    body = json.dumps(content | {"id": name, "type": "moon.risen.v9"}).encode()
    dead_letter(dead, [message(event, body=body, event_id="another id")])

    [group] = group_letters(dead)
    details = letter_details(dead, name)

    assert (group.event_type, group.example) == ("moon.risen.v9", name)
    assert details["data"]["name"] == "thing-0"


@pytest.mark.parametrize(("error", "retried"), [("OutgoingEventTooLarge", 1), ("EventTooLarge", 0)])
def test_a_reaction_that_was_too_large_is_retried_with_all_others(
    dead: DeadQueue, error: str, retried: int
) -> None:
    event = ThingHappened(name="a")
    dead_letter(dead, [message(event)])
    failure = Failure(
        event_id=str(event.event_id),
        event_type=event.type,
        subject=None,
        attempt=1,
        replays=0,
        outcome=failures.DEAD,
        error=error,
        message="too large",
        traceback="",
    )
    with dead.database.begin() as connection:
        failures.record(connection, failure)

    done = retry(dead)

    assert done == RetryResult(retried=retried, not_retryable=1 - retried)


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ({"data_base64": "AP9h", "datacontenttype": "application/octet-stream"}, "AP9h"),
        ({"data_base64": "WzFd", "datacontenttype": "application/json"}, [1]),
        ({"data": "just text"}, "just text"),
    ],
)
def test_data_that_is_no_object_is_shown_and_retried(
    dead: DeadQueue, content: Mapping[str, Any], shown: object
) -> None:
    [event] = things(1)
    attributes = json.loads(encode(event, source="elsewhere")) | {"type": "moon/risen"}
    del attributes["data"]
    body = json.dumps({**attributes, **content}).encode()
    dead_letter(dead, [message(event, body=body)])

    details = letter_details(dead, str(event.event_id))

    assert json.loads(json.dumps(details["data"])) == shown
    assert details["event_type"] == "moon/risen"
    assert retry(dead).retried == 1
    assert ready(dead) == [event.event_id]
