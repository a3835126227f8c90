"""Catch-up: a consumer that joins late ends in the same state as one from the start."""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen

import pytest
from sqlalchemy import func, select

from services.loyalty.handlers import award_points, take_points_back
from services.loyalty.service import loyalty
from services.loyalty.store import LoyaltyStore
from shared.events import DomainEvent, OrderCancelled, OrderPlaced
from shared.messaging.connect import broker_at
from shared.messaging.ports.broker import Broker
from shared.runtime.catch_up import CatchUp
from shared.runtime.logs import log_to
from shared.runtime.process import ServiceGroup
from shared.runtime.reactor import DeliveryResult
from shared.runtime.service import AnyService, Service
from shared.runtime.service_settings import queue_of
from shared.runtime.settings import settings_for, settings_override
from shared.runtime.setup import set_up
from shared.storage import checkpoints, table_digests
from shared.storage.checkpoints import Checkpoint
from shared.storage.database import Database
from shared.storage.table_digests import TableDigest
from shared.storage.tables import inbox
from tests.support.order_events import cancelled, placed, shipped
from tests.support.tape import message
from tests.support.waiting import eventually

EVENTS = 10_000
LIVE = 100
PATIENCE = 90.0


def points(name: str) -> AnyService:
    """A service like loyalty under another name."""
    service = Service(name, store=LoyaltyStore)
    service.on(OrderPlaced, award_points)
    service.on(OrderCancelled, take_points_back)
    return service


EARLY, LATE = points("early"), points("late")


def order_events(number: int) -> list[DomainEvent]:
    """Return that many events; the services subscribe to three in four. Some cancels come first."""
    events: list[DomainEvent] = []
    for index in range(number // 4):
        order = f"ORD-{index}"
        pair: list[DomainEvent] = [placed(order), cancelled(order)]
        events += [*(pair if index % 3 else reversed(pair)), shipped(order), placed(f"{order}-B")]
    return events


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.docker)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator["BrokerAndServices"]:
    broker: dict[str, object] = {}
    if request.param == "rabbitmq":
        broker = request.getfixturevalue("rabbitmq_vhost").settings
    with settings_override(home=tmp_path, log_level="warning", **broker):
        yield BrokerAndServices(tmp_path / "log")


class BrokerAndServices:
    """A broker, and services that a test sets up, starts and stops."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def set_up(self, *services: AnyService) -> None:
        for _ in set_up(services):
            pass

    @contextmanager
    def broker(self) -> Iterator[Broker]:
        with closing(broker_at(settings_for().broker_url_of("tests"))) as broker:
            yield broker

    @contextmanager
    def database(self, service: AnyService) -> Iterator[Database]:
        with closing(Database(settings_for().database_url_of(service.name))) as database:
            yield database

    def publish(self, events: Sequence[DomainEvent]) -> None:
        with self.broker() as broker:
            answers = broker.publisher().publish([message(each) for each in events])
        assert set(answers) == {None}

    @contextmanager
    def running(
        self,
        service: AnyService,
        *,
        from_history: bool = False,
        on_result: Callable[[str, DeliveryResult], None] | None = None,
    ) -> Iterator[None]:
        with self._log.open("a") as stream:
            log = log_to(stream, settings_for())
            listeners = [on_result] if on_result else []
            group = ServiceGroup([service], log, listeners=listeners, from_history=from_history)
            group.start()
            try:
                yield
            finally:
                assert group.stop(20)

    def handled(self, service: AnyService) -> int:
        with self.database(service) as database, database.read() as connection:
            return connection.execute(select(func.count()).select_from(inbox)).scalar_one()

    def checkpoint(self, service: AnyService) -> Checkpoint:
        """Its position in the history; 0 before a catch-up has begun."""
        with self.database(service) as database, database.read() as connection:
            return checkpoints.find(connection) or Checkpoint(0, 0, is_complete=False)

    def state(self, service: AnyService) -> dict[str, TableDigest]:
        with self.database(service) as database, database.read() as connection:
            return table_digests.digests(connection)

    def catch_up(self, service: AnyService) -> None:
        """Copy the history to a service's queue while the service is stopped."""
        with (
            self.broker() as broker,
            self.database(service) as database,
            self._log.open("a") as stream,
        ):
            CatchUp(
                service,
                queue_of(service),
                broker=broker,
                database=database,
                log=log_to(stream, settings_for()),
                is_wanted=True,
            ).run()


def test_a_late_service_ends_in_the_same_state_as_an_early_one(system: BrokerAndServices) -> None:
    subscribed = EVENTS // 4 * 3
    system.set_up(EARLY)
    system.publish(order_events(EVENTS))
    with system.running(EARLY):
        eventually(lambda: system.handled(EARLY) == subscribed, within=PATIENCE)
    system.set_up(EARLY, LATE)
    with system.broker() as broker:
        end_before = broker.history().end()

    with system.running(LATE, from_history=True):
        eventually(lambda: system.handled(LATE) == subscribed, within=PATIENCE)
        eventually(lambda: system.checkpoint(LATE).is_complete)

    assert system.state(LATE) == system.state(EARLY)
    assert system.state(LATE)["awards"].rows == EVENTS // 2
    with system.broker() as broker:
        assert broker.history().end() == end_before


def test_every_live_event_is_handled_before_the_last_old_ones(system: BrokerAndServices) -> None:
    system.set_up(EARLY)
    system.publish(order_events(EVENTS))
    system.set_up(EARLY, LATE)
    system.catch_up(LATE)
    system.publish([placed(f"LIVE-{number}") for number in range(LIVE)])
    is_live: list[bool] = []
    done = threading.Event()

    def record(_: str, result: DeliveryResult) -> None:
        is_live.append(result.event is not None and str(result.event.subject).startswith("LIVE"))
        if len(is_live) == EVENTS // 4 * 3 + LIVE:
            done.set()

    with system.running(LATE, on_result=record):
        assert done.wait(PATIENCE)

    assert is_live.count(True) == LIVE
    assert not any(is_live[-1000:])


def test_a_killed_catch_up_continues_where_it_was(system: BrokerAndServices) -> None:
    subscribed = EVENTS // 4 * 3
    system.set_up(EARLY)
    system.publish(order_events(EVENTS))
    with system.running(EARLY):
        eventually(lambda: system.handled(EARLY) == subscribed, within=PATIENCE)
    system.set_up(EARLY, loyalty)
    command = [sys.executable, "-m", "shop.cli", "run", "loyalty", "--from-history"]
    with Popen(command, stdout=DEVNULL) as process:
        eventually(lambda: system.checkpoint(loyalty).position > 0, within=PATIENCE)
        process.kill()
    reached = system.checkpoint(loyalty)
    assert not reached.is_complete

    with system.running(loyalty):  # a catch-up that has begun continues without the option
        eventually(lambda: system.handled(loyalty) == subscribed, within=PATIENCE)
        eventually(lambda: system.checkpoint(loyalty).is_complete)

    assert system.checkpoint(loyalty).position >= reached.position
    assert system.state(loyalty) == system.state(EARLY)
