"""Consumers that come late and end as if they had been there from the start, on both brokers."""

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
from shared.runtime.settings import only, settings_for
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


VETERAN, NEWCOMER = points("veteran"), points("newcomer")


def story(number: int) -> list[DomainEvent]:
    """So many events, of which the services here hear three in four; cancels may come first."""
    events: list[DomainEvent] = []
    for each in range(number // 4):
        order = f"ORD-{each}"
        two: list[DomainEvent] = [placed(order), cancelled(order)]
        events += [*(two if each % 3 else reversed(two)), shipped(order), placed(f"{order}-B")]
    return events


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.docker)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator["World"]:
    broker = {}
    if request.param == "rabbitmq":
        vhost = request.getfixturevalue("rabbitmq_vhost")
        broker = {"broker_url": vhost.amqp_url, "broker_admin_url": vhost.admin_url}
    with only(home=tmp_path, log_level="warning", **broker):
        yield World(tmp_path / "log")


class World:
    """A broker, and services that come when they are told."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def make(self, *services: AnyService) -> None:
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
    def at_work(
        self,
        service: AnyService,
        *,
        from_history: bool = False,
        hear: Callable[[str, DeliveryResult], None] | None = None,
    ) -> Iterator[None]:
        with self._log.open("a") as stream:
            log = log_to(stream, settings_for())
            listeners = [hear] if hear else []
            group = ServiceGroup([service], log, listeners=listeners, from_history=from_history)
            group.start()
            try:
                yield
            finally:
                assert group.stop(20)

    def handled(self, service: AnyService) -> int:
        with self.database(service) as database, database.read() as connection:
            return connection.execute(select(func.count()).select_from(inbox)).scalar_one()

    def place(self, service: AnyService) -> Checkpoint:
        """Where it is in the history; nowhere, before it has begun."""
        with self.database(service) as database, database.read() as connection:
            return checkpoints.find(connection) or Checkpoint(0, 0, is_done=False)

    def state(self, service: AnyService) -> dict[str, TableDigest]:
        with self.database(service) as database, database.read() as connection:
            return table_digests.digests(connection)

    def catch_up(self, service: AnyService) -> None:
        """Bring a service its history, without letting it work."""
        with self.broker() as broker, self.database(service) as database, self._log.open("a") as to:
            CatchUp(
                service,
                queue_of(service),
                broker=broker,
                database=database,
                log=log_to(to, settings_for()),
                is_wanted=True,
            ).run()


def test_who_comes_late_ends_exactly_like_who_was_there_from_the_start(world: World) -> None:
    heard = EVENTS // 4 * 3
    world.make(VETERAN)
    world.publish(story(EVENTS))
    with world.at_work(VETERAN):
        eventually(lambda: world.handled(VETERAN) == heard, within=PATIENCE)
    world.make(VETERAN, NEWCOMER)
    with world.broker() as broker:
        said_before = broker.history().end()

    with world.at_work(NEWCOMER, from_history=True):
        eventually(lambda: world.handled(NEWCOMER) == heard, within=PATIENCE)
        eventually(lambda: world.place(NEWCOMER).is_done)

    assert world.state(NEWCOMER) == world.state(VETERAN)
    assert world.state(NEWCOMER)["awards"].rows == EVENTS // 2
    with world.broker() as broker:
        assert broker.history().end() == said_before


def test_every_live_event_is_applied_before_the_last_old_one(world: World) -> None:
    world.make(VETERAN)
    world.publish(story(EVENTS))
    world.make(VETERAN, NEWCOMER)
    world.catch_up(NEWCOMER)
    world.publish([placed(f"LIVE-{number}") for number in range(LIVE)])
    order: list[bool] = []
    done = threading.Event()

    def hear(_: str, reacted: DeliveryResult) -> None:
        order.append(reacted.event is not None and str(reacted.event.subject).startswith("LIVE"))
        if len(order) == EVENTS // 4 * 3 + LIVE:
            done.set()

    with world.at_work(NEWCOMER, hear=hear):
        assert done.wait(PATIENCE)

    assert order.count(True) == LIVE
    assert not any(order[-1000:])


def test_killed_in_the_middle_it_goes_on_where_it_was(world: World) -> None:
    heard = EVENTS // 4 * 3
    world.make(VETERAN)
    world.publish(story(EVENTS))
    with world.at_work(VETERAN):
        eventually(lambda: world.handled(VETERAN) == heard, within=PATIENCE)
    world.make(VETERAN, loyalty)
    command = [sys.executable, "-m", "shop.cli", "run", "loyalty", "--from-history"]
    with Popen(command, stdout=DEVNULL) as process:
        eventually(lambda: world.place(loyalty).place > 0, within=PATIENCE)
        process.kill()
    reached = world.place(loyalty)
    assert not reached.is_done

    with world.at_work(loyalty):  # what was begun is ended, asked for or not
        eventually(lambda: world.handled(loyalty) == heard, within=PATIENCE)
        eventually(lambda: world.place(loyalty).is_done)

    assert world.place(loyalty).place >= reached.place
    assert world.state(loyalty) == world.state(VETERAN)
