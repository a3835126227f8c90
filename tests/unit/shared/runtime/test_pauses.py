"""What a service that waits leaves for the doctor, and what becomes of it after a restart."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from shared.errors import DependencyUnavailable
from shared.runtime.logs import log_to
from shared.runtime.pauses import PauseRecord
from shared.runtime.settings import Settings
from shared.storage import service_state
from shared.storage.database import Database
from shared.storage.service_state import Pause, ServiceState
from shared.storage.tables import service_state as table
from tests.support.counting import ThingHappened, Work, count
from tests.support.running_service import RunningService
from tests.support.waiting import eventually


class MailServer:
    """A gateway that is away until `answers` is set; counts probes."""

    place = "the mail server m:25"

    def __init__(self, *, answers: bool = False) -> None:
        self.answers = threading.Event()
        self.probes = 0
        if answers:
            self.answers.set()

    def probe(self) -> None:
        self.probes += 1
        if not self.answers.is_set():
            raise DependencyUnavailable(f"{self.place} is away")

    def close(self) -> None:
        """Nothing to close."""


def send(event: ThingHappened, work: Work) -> None:
    """A handler that needs the gateway."""
    work.gateway.probe()
    count(event, work)


Start = Callable[[MailServer], RunningService]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[RunningService] = []

    def start_one(gateway: MailServer) -> RunningService:
        service = RunningService(tmp_path, send, gateway)
        service.runner.start()
        started.append(service)
        return service

    yield start_one
    for each in started:
        each.close()


def state(service: RunningService) -> ServiceState:
    with service.database.read() as connection:
        return service_state.find(connection)


def pause(service: RunningService) -> Pause:
    found = state(service).pause
    assert found is not None
    return found


def is_paused(service: RunningService) -> bool:
    return state(service).pause is not None


def test_a_service_leaves_which_gateway_it_uses(start: Start) -> None:
    service = start(MailServer())

    eventually(lambda: state(service).gateway == "the mail server m:25")
    assert not is_paused(service)


def test_a_service_that_waits_leaves_since_when_and_for_what(start: Start) -> None:
    server = MailServer()
    service = start(server)
    service.send(ThingHappened(name="a"))

    eventually(lambda: is_paused(service))
    first = pause(service)
    eventually(lambda: server.probes > 3)

    later = pause(service)
    assert (later.since, later.reason) == (first.since, "the mail server m:25 is away")
    assert later.is_fresh
    assert abs(datetime.now(UTC) - later.since) < timedelta(minutes=1)


def test_the_pause_ends_when_something_was_handled(start: Start) -> None:
    server = MailServer()
    service = start(server)
    service.send(ThingHappened(name="a"))
    eventually(lambda: is_paused(service))

    server.answers.set()

    eventually(lambda: service.counts() == {"a": 1})
    eventually(lambda: not is_paused(service))
    assert state(service).gateway == "the mail server m:25"


def test_a_pause_survives_a_restart_with_the_time_at_which_it_began(start: Start) -> None:
    first = start(MailServer())
    first.send(ThingHappened(name="a"))
    eventually(lambda: is_paused(first))
    first.runner.stop()
    eventually(lambda: first.runner.health() != [])
    began = pause(first).since
    server = MailServer()

    second = start(server)

    eventually(lambda: server.probes > 1)
    assert pause(second).since == began
    assert not second.runner.is_consuming
    server.answers.set()
    eventually(lambda: second.counts() == {"a": 1})
    eventually(lambda: not is_paused(second))


def test_a_pause_that_nobody_has_seen_for_a_while_is_not_fresh(start: Start) -> None:
    service = start(MailServer(answers=True))
    long_ago = datetime.now(UTC) - timedelta(seconds=service_state.FRESH_SECONDS + 10)
    with service.database.begin() as connection:
        service_state.note_pause(connection, service.database, "away")
        connection.execute(update(table).values(seen_at=long_ago))

    assert not pause(service).is_fresh


def test_waiting_for_the_database_itself_is_not_written_to_it(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/nowhere/x.db")
    with pytest.raises(DependencyUnavailable) as away:
        database.probe()
    lines: list[str] = []

    record(database, lines).note(away.value)

    assert lines == []


def test_a_state_that_cannot_be_written_is_logged_and_ends_nothing(tmp_path: Path) -> None:
    lines: list[str] = []
    paused = record(Database(f"sqlite:///{tmp_path}/nowhere/x.db"), lines)

    assert not paused.begin("a gateway")
    paused.note(DependencyUnavailable("the mail server is away"))
    paused.end()

    assert ["state not recorded" in line for line in lines] == [True] * 3


def record(database: Database, lines: list[str]) -> PauseRecord:
    class Stream:
        def write(self, text: str) -> None:
            lines.extend(text.splitlines())

        def flush(self) -> None:
            """Nothing is kept back."""

        def isatty(self) -> bool:
            return False

    stream: Any = Stream()
    return PauseRecord(database, log_to(stream, Settings()))


def test_the_age_of_the_oldest_waiting_event_is_a_metric(start: Start) -> None:
    server = MailServer()
    service = start(server)
    assert service.metric("shop_waiting_age_seconds") == 0
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    service.send(ThingHappened(name="a", occurred_at=an_hour_ago))

    eventually(lambda: is_paused(service))

    assert 3600 <= (service.metric("shop_waiting_age_seconds") or 0) < 3700
    server.answers.set()
    eventually(lambda: service.metric("shop_waiting_age_seconds") == 0)
