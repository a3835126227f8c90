import io
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.inventory.service import inventory
from services.loyalty.service import loyalty
from services.orders.service import orders
from shared.errors import BrokerUnavailable, InvalidInput, OperationFailed
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
from shared.storage.database import CommitOutcomeUnknown
from shared.testing import Stage
from tests.support.order_events import paid, placed
from tests.support.tape import Tape, garbage

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path, [loyalty])
    yield stage
    stage.close()


class Noted:
    """A publisher that notes what it was given, and may be away from a call on."""

    def __init__(self, *, away_from: int = 1_000, refusal: str | None = None) -> None:
        self.calls: list[list[Message]] = []
        self._away_from = away_from
        self._refusal = refusal

    def publish(self, messages: Sequence[Message]) -> list[str | None]:
        if len(self.calls) >= self._away_from:
            raise BrokerUnavailable
        self.calls.append(list(messages))
        return [self._refusal] * len(messages)

    def close(self) -> None:
        """Nothing is held."""

    @property
    def sent(self) -> list[str]:
        return [each.event_id for call in self.calls for each in call]


class World:
    """A broker whose history is a tape."""

    def __init__(self, stage: Stage, tape: Tape, publisher: Noted) -> None:
        self._stage = stage
        self._tape = tape
        self._publisher = publisher
        self.bound: list[str] = []
        self.logged = io.StringIO()

    def bind(self, queue: Queue) -> None:
        self.bound.append(queue.name)
        assert self._tape.started == [], "the queue is bound before history is looked at"

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
            log=log_to(self.logged, Settings()),
            is_wanted=is_wanted,
        )

    @property
    def place(self) -> Checkpoint | None:
        with self._stage.databases["loyalty"].read() as connection:
            return checkpoints.find(connection)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(each) for each in self.logged.getvalue().splitlines()]


def test_what_is_copied_goes_to_one_queue_behind_what_waits_there() -> None:
    event, publisher = placed("ORD-1"), Noted()

    copied = list(copy(EventReader(Tape([event]), EventFilter(), end=1), publisher, to="loyalty"))

    assert copied == [(1, 1)]
    [[message]] = publisher.calls
    assert (message.only_to, message.low_priority) == ("loyalty", True)
    assert (message.event_id, message.topic) == (str(event.event_id), "order.placed")
    assert message.body == Tape([event])._all()[0].body


def test_a_broker_that_refuses_for_good_ends_the_copying() -> None:
    reading = EventReader(Tape([placed("ORD-1")]), EventFilter(), end=1)

    with pytest.raises(OperationFailed, match="cannot be replayed: no queue"):
        list(copy(reading, Noted(refusal="no queue"), to="loyalty"))


def test_a_catch_up_brings_what_was_before_its_queue_and_then_nothing_more(stage: Stage) -> None:
    first, second = placed("ORD-1"), placed("ORD-2")
    publisher = Noted()
    world = World(stage, Tape([first, paid("ORD-1"), garbage("7f"), second]), publisher)

    world.catch_up().run()
    world.catch_up().run()

    assert publisher.sent == [str(first.event_id), str(second.event_id)]
    assert world.bound == ["loyalty"]
    assert world.place == Checkpoint(4, 4, is_done=True)
    assert [each["event"] for each in world.lines] == [
        "catching up",
        "unreadable, skipped",
        "caught up",
        "caught up before, nothing to do",
    ]
    assert world.lines[1]["event_id"] == "7f at offset 2"
    assert world.lines[3]["at"] <= world.lines[3]["timestamp"]


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        ([placed("ORD-9", occurred_at=NOON)], "the history begins at 2026-11-20 12:00:00 UTC"),
        ([], "the history was dropped: no event is kept any more"),
    ],
    ids=["truncated_history", "nothing-left"],
)
def test_a_catch_up_from_a_shortened_history_says_since_when_it_is_kept(
    stage: Stage, kept: list[OrderPlaced], reason: str
) -> None:
    world = World(stage, Tape(kept, dropped=100), Noted())

    world.catch_up().run()

    assert [(each["event"], each["level"]) for each in world.lines] == [
        ("not all there was will come", "warning"),
        ("catching up", "info"),
        ("caught up", "info"),
    ]
    assert world.lines[0]["reason"].startswith(reason)


def test_who_did_not_ask_for_the_history_is_not_told_that_it_was_brought(stage: Stage) -> None:
    World(stage, Tape([placed("ORD-1")]), Noted()).catch_up().run()
    world = World(stage, Tape([placed("ORD-1")]), Noted())

    world.catch_up(is_wanted=False).run()

    assert world.lines == []


def test_nothing_is_brought_to_who_did_not_ask(stage: Stage) -> None:
    publisher = Noted()
    world = World(stage, Tape([placed("ORD-1")]), publisher)

    world.catch_up(is_wanted=False).run()

    assert publisher.sent == []
    assert world.place is None
    assert world.bound == []


def test_ended_in_the_middle_it_goes_on_where_it_was(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "WINDOW", 10)
    events = [placed(f"ORD-{number}") for number in range(95)]
    first, second, tape = Noted(away_from=3), Noted(), Tape(events)
    ended = World(stage, tape, first).catch_up()
    monkeypatch.setattr(ended, "_pause", lambda _: ended.stop())
    ended.run()
    world = World(stage, tape, second)
    assert world.place == Checkpoint(30, 95, is_done=False)

    world.catch_up(is_wanted=False).run()

    assert tape.started == [0, 30]
    assert [*first.sent, *second.sent] == [str(each.event_id) for each in events]
    assert world.place is not None
    assert world.place.is_done


def test_a_broker_that_is_away_for_a_while_is_waited_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [placed(f"ORD-{number}") for number in range(5)]
    publisher = Noted(away_from=0)
    world = World(stage, Tape(events), publisher)
    catching = world.catch_up()

    def comes_back(_: float) -> None:
        publisher._away_from = 1_000

    monkeypatch.setattr(catching, "_pause", comes_back)
    catching.run()

    assert len(publisher.sent) == 5
    assert "catching up waits" in world.logged.getvalue()


def test_a_database_lost_in_a_commit_is_waited_for_and_nothing_is_left_out(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [placed(f"ORD-{number}") for number in range(5)]
    world = World(stage, Tape(events), publisher := Noted())
    catching = world.catch_up()
    monkeypatch.setattr(catching, "_pause", lambda _: None)
    lost = iter([True])
    keep = catching._keep

    def losing(place: int) -> None:
        keep(place)
        if next(lost, False):
            raise CommitOutcomeUnknown

    monkeypatch.setattr(catching, "_keep", losing)
    catching.run()

    assert sorted(publisher.sent) == sorted(str(each.event_id) for each in events)
    assert world.place is not None
    assert world.place.is_done
    assert "catching up waits" in world.logged.getvalue()


def test_what_is_brought_twice_is_handled_once(stage: Stage) -> None:
    stage.publish(placed("ORD-1"), placed("ORD-2"))
    stage.play()
    broker: EmbeddedBroker = stage.broker
    history = broker.history()

    reading = EventReader(history, EventFilter(), end=history.end())
    list(copy(reading, broker.publisher(), to="loyalty"))

    assert [each.duplicate for each in stage.play()] == [True, True]


def test_a_service_that_only_keeps_what_it_hears_may_begin_with_the_history() -> None:
    require_consent(loyalty)


@pytest.mark.parametrize(
    ("service", "does"),
    [
        (orders, "orders publishes order.cancelled, order.placed, payment.received"),
        (inventory, "inventory publishes stock.ran_short, stock.reserved"),
    ],
    ids=["orders", "inventory"],
)
def test_a_service_that_publishes_must_be_meant(service: Any, does: str) -> None:
    with pytest.raises(InvalidInput, match=f"{does}.*--from-history --yes"):
        require_consent(service)


def test_a_service_that_sends_mails_must_be_meant() -> None:
    from services.email.service import email  # noqa: PLC0415 - beside the standard library's

    with pytest.raises(InvalidInput, match="email acts outside its database"):
        require_consent(email)
