"""Old and new processes of a service side by side, during a release, under load."""

import io
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest

from shared.errors import UnsubscribedBacklog
from shared.events import DomainEvent
from shared.messaging.codec import message_of
from shared.messaging.connect import broker_at
from shared.messaging.topology import Retry, Topology, dead_queue
from shared.runtime import unsubscribed
from shared.runtime.logs import log_to
from shared.runtime.metrics import Metrics
from shared.runtime.reactor import DeliveryResult
from shared.runtime.runner import ServiceRunner
from shared.runtime.service import AnyService, Service
from shared.runtime.settings import Settings, settings_override
from shared.runtime.setup import set_up
from shared.runtime.unsubscribed import Unsubscribed
from shared.storage.database import Database
from shared.storage.migrating import migrate
from shared.storage.unit_of_work import Store
from tests.contract.brokers import BrokerUnderTest
from tests.support.waiting import eventually

EVENTS = 40
"""Of each type, in each stage of a release."""


class LetterPosted(DomainEvent):
    """An event that every release knows."""

    topic: ClassVar[str] = "letter.posted"
    publishers = frozenset({"elsewhere"})


class LetterLost(DomainEvent):
    """An event that only some releases subscribe to."""

    topic: ClassVar[str] = "letter.lost"
    publishers = frozenset({"elsewhere"})


class LetterPostedV2(DomainEvent):
    """A version that cannot be converted to the first, so old processes cannot read it."""

    topic: ClassVar[str] = "letter.posted"
    publishers = frozenset({"elsewhere"})
    version: ClassVar[int] = 2
    previous = LetterPosted

    @classmethod
    def upcast(cls, older: LetterPosted) -> "LetterPostedV2":
        return cls(**dict(older))


def release(*contracts: type[DomainEvent]) -> AnyService:
    """The service as one release declares it."""
    service: AnyService = Service(
        "posting", store=Store, retry=Retry(delay=0.05, max_delay=0.2, max_retries=20)
    )
    for contract in contracts:
        service.on(contract, lambda _event, _work: None)
    return service


class Release:
    """The broker and the database of one service, and the processes that run it."""

    def __init__(self, target: BrokerUnderTest, folder: Path) -> None:
        self._target = target
        self._folder = folder
        self._publisher = self._connect().publisher()
        self.published: list[UUID] = []
        self.results: list[DeliveryResult] = []

    def _connect(self) -> Any:
        return broker_at(self._target.url, admin_url=self._target.admin_url)

    def set_up(self, service: AnyService) -> None:
        broker = self._connect()
        broker.set_up(Topology(queues=(service.queue(),)))
        broker.close()

    def publish(self, *contracts: type[DomainEvent]) -> None:
        """Publish one event of each of these contracts, several times."""
        for _ in range(EVENTS):
            events = [contract() for contract in contracts]
            self._publisher.publish([message_of(each, source="elsewhere") for each in events])
            self.published += [each.event_id for each in events]

    @contextmanager
    def process(self, service: AnyService) -> Iterator[Counter[UUID]]:
        """Run a process of this release; yields how often it handled each event."""
        handled: Counter[UUID] = Counter()

        def listen(_name: str, result: DeliveryResult) -> None:
            self.results.append(result)
            if result.error is None and result.event and not result.duplicate:
                handled[result.event.event_id] += 1

        settings, broker = Settings(home=self._folder), self._connect()
        database = Database(f"sqlite:///{self._folder / 'posting.db'}")
        migrate(database, service.migrations)
        runner = ServiceRunner(
            service=service,
            settings=settings,
            broker=broker,
            database=database,
            log=log_to(io.StringIO(), settings),
            metrics=Metrics(),
            listeners=[listen],
        )
        runner.start()
        try:
            eventually(lambda: runner.is_consuming)
            yield handled
        finally:
            runner.stop()
            assert runner.join(time.monotonic() + 20)
            runner.close()
            broker.close()

    def are_handled(self, *processes: Counter[UUID]) -> bool:
        return sum(processes, Counter()) == Counter(self.published)

    def retried(self, error: str) -> int:
        return sum(type(each.error).__name__ == error for each in self.results)

    def ended(self, service: AnyService) -> dict[str, frozenset[str]]:
        broker = self._connect()
        ended: dict[str, frozenset[str]] = broker.ended_subscriptions(
            Topology(queues=(service.queue(),))
        )
        broker.close()
        return ended

    def dead_letters(self) -> int:
        broker = self._connect()
        ready: int = broker.depth(dead_queue("posting")).ready
        broker.close()
        return ready


@pytest.fixture
def roll_out(target: BrokerUnderTest, tmp_path: Path) -> Release:
    return Release(target, tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        pytest.param(
            [LetterPosted], [LetterPosted, LetterLost], "NotSubscribed", id="subscription"
        ),
        pytest.param([LetterPosted], [LetterPostedV2], "UnsupportedVersion", id="version"),
    ],
)
def test_what_a_release_adds_waits_for_its_processes(
    roll_out: Release,
    before: list[type[DomainEvent]],
    after: list[type[DomainEvent]],
    error: str,
) -> None:
    old, new = release(*before), release(*after)
    everything = {*before, *after}
    roll_out.set_up(old)
    with roll_out.process(old) as handled_by_old:
        roll_out.publish(*before)
        roll_out.set_up(new)
        roll_out.publish(*everything)
        eventually(lambda: roll_out.retried(error) > EVENTS)

        with roll_out.process(new) as handled_by_new:
            roll_out.publish(*everything)
            eventually(lambda: roll_out.are_handled(handled_by_old, handled_by_new))

    assert handled_by_old
    assert roll_out.dead_letters() == 0


@pytest.fixture
def configured(target: BrokerUnderTest, tmp_path: Path) -> Iterator[None]:
    """The settings with which `shop setup` finds the broker."""
    with settings_override(
        home=tmp_path,
        broker_url=target.url,
        broker_admin_url=target.admin_url or "",
        allow_plaintext=True,
    ):
        yield


OLD, NEW = release(LetterPosted, LetterLost), release(LetterPosted)


@pytest.mark.usefixtures("configured")
def test_what_waits_of_a_dropped_subscription_waits_for_the_old_processes(
    roll_out: Release,
) -> None:
    list(set_up([OLD]))
    roll_out.publish(LetterPosted, LetterLost)

    with pytest.raises(UnsubscribedBacklog, match=r"posting no longer subscribes to letter\.lost"):
        list(set_up([NEW]))
    assert roll_out.ended(NEW) == {"posting": {"letter.lost"}}, "the release has not begun"
    roll_out.publish(LetterLost)
    with roll_out.process(OLD) as handled:
        eventually(lambda: roll_out.are_handled(handled))
    list(set_up([NEW]))

    assert {each.delivery.attempt for each in roll_out.results} == {1}
    assert roll_out.ended(NEW) == {}
    assert roll_out.dead_letters() == 0


@pytest.mark.usefixtures("configured")
def test_what_waits_of_a_dropped_subscription_can_be_dropped(roll_out: Release) -> None:
    list(set_up([OLD]))
    roll_out.publish(LetterLost)
    roll_out.published.clear()
    roll_out.publish(LetterPosted)

    steps = list(set_up([NEW], drop_unsubscribed=True))
    with roll_out.process(NEW) as handled:
        eventually(lambda: roll_out.are_handled(handled))

    dropped = Unsubscribed("posting", "letter.lost", EVENTS, is_dropped=True)
    assert [each for each in steps if isinstance(each, Unsubscribed)] == [dropped]
    assert {each.delivery.attempt for each in roll_out.results} == {1}
    assert list(map(type, roll_out.results)) == [DeliveryResult] * EVENTS
    assert roll_out.dead_letters() == 0


@pytest.mark.usefixtures("configured")
def test_a_queue_too_long_to_be_read_keeps_its_subscriptions(
    roll_out: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unsubscribed, "_MOST", EVENTS)
    list(set_up([OLD]))
    roll_out.publish(LetterPosted)
    roll_out.publish(LetterLost)

    with pytest.raises(UnsubscribedBacklog, match="holds more than can be read"):
        list(set_up([NEW]))

    list(set_up([NEW], drop_unsubscribed=True))
    assert roll_out.ended(NEW) == {}


def test_what_a_release_no_longer_wants_is_handled_by_the_old_processes(roll_out: Release) -> None:
    old, new = release(LetterPosted, LetterLost), release(LetterPosted)
    roll_out.set_up(old)
    with roll_out.process(old) as handled_by_old, roll_out.process(new) as handled_by_new:
        roll_out.publish(LetterPosted, LetterLost)
        roll_out.set_up(new)
        roll_out.publish(LetterPosted)
        eventually(lambda: roll_out.are_handled(handled_by_old, handled_by_new))

    assert roll_out.retried("NotSubscribed")
    assert roll_out.dead_letters() == 0
