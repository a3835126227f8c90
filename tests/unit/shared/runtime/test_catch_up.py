import io
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.inventory.service import inventory
from services.loyalty.service import loyalty
from services.orders.service import orders
from shared.errors import (
    BrokerUnavailable,
    CommitOutcomeUnknown,
    HistoryNotGranted,
    InvalidInput,
    OperationFailed,
)
from shared.events import OrderPlaced
from shared.history import copying
from shared.history.copying import copy
from shared.history.reading import EventFilter, EventReader
from shared.messaging.embedded import EmbeddedBroker
from shared.messaging.ports.history import HistoryReader
from shared.messaging.ports.publisher import Message, Publisher
from shared.messaging.topology import Queue
from shared.runtime.catch_up import CatchUp
from shared.runtime.logs import log_to
from shared.runtime.service import require_consent
from shared.runtime.settings import Settings
from shared.storage import checkpoints
from shared.storage.checkpoints import Checkpoint
from shared.testing import Stage
from tests.support.order_events import paid, placed
from tests.support.tape import Tape, garbage

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path, [loyalty])
    yield stage
    stage.close()


class RecordingPublisher:
    """A publisher that records its messages.

    Attributes:
        available_calls: number of calls after which the broker is away.
        when_away: called when the broker is away.
    """

    def __init__(self, *, available_calls: int = 1_000, rejection: str | None = None) -> None:
        self.calls: list[list[Message]] = []
        self.available_calls = available_calls
        self.when_away: Callable[[], None] = lambda: None
        self._rejection = rejection

    def publish(self, messages: Sequence[Message]) -> list[str | None]:
        if len(self.calls) >= self.available_calls:
            self.when_away()
            raise BrokerUnavailable
        self.calls.append(list(messages))
        return [self._rejection] * len(messages)

    def close(self) -> None:
        """There is nothing to close."""

    @property
    def sent(self) -> list[str]:
        return [each.event_id for call in self.calls for each in call]


class FakeBroker:
    """A broker with a history in memory, for catch-ups of loyalty."""

    def __init__(self, stage: Stage, tape: Tape, publisher: RecordingPublisher) -> None:
        self._stage = stage
        self._tape = tape
        self._publisher = publisher
        self.bound: list[str] = []
        self.log_output = io.StringIO()

    def bind(self, queue: Queue) -> None:
        self.bound.append(queue.name)
        assert self._tape.started == [], "the queue is bound before the history is read"

    def history(self) -> HistoryReader:
        return self._tape

    def publisher(self) -> Publisher:
        return self._publisher

    def catch_up(self, *, is_wanted: bool = True) -> CatchUp:
        broker: Any = self
        return CatchUp(
            loyalty,
            loyalty.queue(),
            broker=broker,
            database=self._stage.databases["loyalty"],
            log=log_to(self.log_output, Settings()),
            is_wanted=is_wanted,
        )

    @property
    def checkpoint(self) -> Checkpoint | None:
        with self._stage.databases["loyalty"].read() as connection:
            return checkpoints.find(connection)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(each) for each in self.log_output.getvalue().splitlines()]


def test_copied_events_go_to_one_queue_with_low_priority() -> None:
    event, publisher = placed("ORD-1"), RecordingPublisher()

    copied = list(copy(EventReader(Tape([event]), EventFilter(), end=1), publisher, to="loyalty"))

    assert copied == [(1, 1)]
    [[message]] = publisher.calls
    assert (message.only_to, message.low_priority) == ("loyalty", True)
    assert (message.event_id, message.topic) == (str(event.event_id), "order.placed")
    assert message.body == Tape([event])._records()[0].body


def test_an_event_that_the_broker_rejects_ends_the_copying() -> None:
    reading = EventReader(Tape([placed("ORD-1")]), EventFilter(), end=1)

    with pytest.raises(OperationFailed, match="cannot be replayed: no queue"):
        list(copy(reading, RecordingPublisher(rejection="no queue"), to="loyalty"))


def test_a_catch_up_sends_the_events_that_precede_the_queue_once(stage: Stage) -> None:
    first, second = placed("ORD-1"), placed("ORD-2")
    publisher = RecordingPublisher()
    broker = FakeBroker(stage, Tape([first, paid("ORD-1"), garbage("7f"), second]), publisher)

    broker.catch_up().run()
    broker.catch_up().run()

    assert publisher.sent == [str(first.event_id), str(second.event_id)]
    assert broker.bound == ["loyalty"]
    assert broker.checkpoint == Checkpoint(4, 4, is_complete=True)
    assert [each["event"] for each in broker.lines] == [
        "catching up",
        "unreadable message skipped",
        "catch-up finished",
        "catch-up already finished",
    ]
    assert broker.lines[1]["event_id"] == "7f at offset 2"
    assert broker.lines[3]["at"] <= broker.lines[3]["timestamp"]


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        ([placed("ORD-9", occurred_at=NOON)], "the history begins at 2026-11-20 12:00:00 UTC"),
        ([], "the history was dropped: no event is kept any more"),
    ],
    ids=["truncated_history", "nothing-left"],
)
def test_a_catch_up_from_a_truncated_history_logs_where_the_history_begins(
    stage: Stage, kept: list[OrderPlaced], reason: str
) -> None:
    broker = FakeBroker(stage, Tape(kept, dropped=100), RecordingPublisher())

    broker.catch_up().run()

    assert [(each["event"], each["level"]) for each in broker.lines] == [
        ("history is incomplete", "warning"),
        ("catching up", "info"),
        ("catch-up finished", "info"),
    ]
    assert broker.lines[0]["reason"].startswith(reason)


class RefusedAtFirst(Tape):
    """A history that this user may not read until its second try."""

    refusals: int = 1

    def end(self) -> int:
        if self.refusals:
            self.refusals -= 1
            raise HistoryNotGranted
        return super().end()


def test_a_catch_up_waits_until_the_history_is_granted(stage: Stage) -> None:
    event, publisher = placed("ORD-1"), RecordingPublisher()
    tape = RefusedAtFirst([event])
    broker = FakeBroker(stage, tape, publisher)

    broker.catch_up().run()

    assert publisher.sent == [str(event.event_id)]
    waiting = broker.lines[0]
    assert (waiting["event"], waiting["error"]) == ("retrying", "HistoryNotGranted")
    assert waiting["reason"].endswith("set SHOP_LOYALTY_FROM_HISTORY=true and run `shop setup`")


def test_a_finished_catch_up_is_not_logged_if_none_is_wanted(stage: Stage) -> None:
    FakeBroker(stage, Tape([placed("ORD-1")]), RecordingPublisher()).catch_up().run()
    broker = FakeBroker(stage, Tape([placed("ORD-1")]), RecordingPublisher())

    broker.catch_up(is_wanted=False).run()

    assert broker.lines == []


def test_no_catch_up_begins_if_none_is_wanted(stage: Stage) -> None:
    publisher = RecordingPublisher()
    broker = FakeBroker(stage, Tape([placed("ORD-1")]), publisher)

    broker.catch_up(is_wanted=False).run()

    assert publisher.sent == []
    assert broker.checkpoint is None
    assert broker.bound == []


def test_an_interrupted_catch_up_continues_at_its_checkpoint(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "WINDOW", 10)
    events = [placed(f"ORD-{number}") for number in range(95)]
    first, second, tape = (
        RecordingPublisher(available_calls=3),
        RecordingPublisher(),
        Tape(events),
    )
    interrupted = FakeBroker(stage, tape, first).catch_up()
    first.when_away = interrupted.stop
    interrupted.run()
    broker = FakeBroker(stage, tape, second)
    assert broker.checkpoint == Checkpoint(30, 95, is_complete=False)

    broker.catch_up(is_wanted=False).run()

    assert tape.started == [0, 30]
    assert [*first.sent, *second.sent] == [str(each.event_id) for each in events]
    assert broker.checkpoint is not None
    assert broker.checkpoint.is_complete


def test_a_catch_up_waits_for_a_broker_that_is_away(stage: Stage) -> None:
    events = [placed(f"ORD-{number}") for number in range(5)]
    publisher = RecordingPublisher(available_calls=0)
    broker = FakeBroker(stage, Tape(events), publisher)

    def come_back() -> None:
        publisher.available_calls = 1_000

    publisher.when_away = come_back
    broker.catch_up().run()

    assert len(publisher.sent) == 5
    assert "retrying" in broker.log_output.getvalue()


def test_a_catch_up_waits_for_a_database_lost_in_a_commit_and_omits_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [placed(f"ORD-{number}") for number in range(5)]
    broker = FakeBroker(stage, Tape(events), publisher := RecordingPublisher())
    catch_up = broker.catch_up()
    lost = iter([True])
    advance = catch_up._advance

    def lose_the_first(place: int) -> None:
        advance(place)
        if next(lost, False):
            raise CommitOutcomeUnknown

    monkeypatch.setattr(catch_up, "_advance", lose_the_first)
    catch_up.run()

    assert sorted(publisher.sent) == sorted(str(each.event_id) for each in events)
    assert broker.checkpoint is not None
    assert broker.checkpoint.is_complete
    assert "retrying" in broker.log_output.getvalue()


def test_an_event_that_was_handled_before_is_a_duplicate(stage: Stage) -> None:
    stage.publish(placed("ORD-1"), placed("ORD-2"))
    stage.play()
    broker: EmbeddedBroker = stage.broker
    history = broker.history()

    reading = EventReader(history, EventFilter(), end=history.end())
    list(copy(reading, broker.publisher(), to="loyalty"))

    assert [each.duplicate for each in stage.play()] == [True, True]


def test_a_service_without_side_effects_needs_no_consent() -> None:
    require_consent(loyalty)


@pytest.mark.parametrize(
    ("service", "effects"),
    [
        (orders, "orders publishes order.cancelled, order.placed, payment.received"),
        (inventory, "inventory publishes stock.ran_short, stock.reserved"),
    ],
    ids=["orders", "inventory"],
)
def test_a_service_that_publishes_needs_consent(service: Any, effects: str) -> None:
    with pytest.raises(InvalidInput, match=f"{effects}.*--from-history --yes"):
        require_consent(service)


def test_a_service_with_a_gateway_needs_consent() -> None:
    from services.email.service import email  # noqa: PLC0415 - beside the standard library's

    with pytest.raises(InvalidInput, match="email acts outside its database"):
        require_consent(email)
