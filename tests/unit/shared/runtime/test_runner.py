import errno
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from shared.errors import DependencyUnavailable, InvalidInput, PermanentFailure, TransientFailure
from shared.messaging.ports.consumer import SLOW_START_AFTER, Outcome
from shared.messaging.topology import Topology
from shared.runtime.health import HealthServer
from shared.storage import failures
from tests.support.counting import ThingHappened, Work, count, counting
from tests.support.running_service import RunningService
from tests.support.waiting import eventually

Start = Callable[..., RunningService]
Serve = Callable[[RunningService], str]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a service with the test's own handler and gateway."""
    started: list[RunningService] = []

    def start_one(handler: Any = count, gateway: Any = None) -> RunningService:
        service = RunningService(tmp_path, handler, gateway)
        service.runner.start()
        started.append(service)
        return service

    yield start_one
    for each in started:
        each.close()


def test_a_running_service_reacts_and_sends_its_events(start: Start) -> None:
    service = start()
    service.send(ThingHappened(name="a"), ThingHappened(name="b"))

    eventually(lambda: service.counts() == {"a": 1, "b": 1})
    eventually(lambda: service.metric("shop_events_published_total") == 2)

    assert service.metric("shop_outbox_depth") == 0


def test_a_line_about_a_delivery_identifies_its_event(start: Start) -> None:
    service = start()
    event = ThingHappened(name="ORD-1")
    service.send(event)

    eventually(lambda: service.log_lines("handled"))

    (line,) = service.log_lines("handled")
    assert line["service"] == "counting"
    assert line["event_id"] == str(event.event_id)
    assert line["event_type"] == "thing.happened.v1"
    assert line["order_id"] == "ORD-1"
    assert line["attempt"] == 1
    assert line["did"] == "counted ORD-1"


def test_a_message_that_always_fails_is_dead_after_its_last_attempt(
    start: Start,
) -> None:
    def refuse(event: ThingHappened, work: Work) -> None:
        del event, work
        raise TransientFailure("not now")

    service = start(refuse)
    service.send(ThingHappened(name="a"))

    eventually(lambda: service.dead_letters() == 1)

    eventually(
        lambda: service.metric("shop_events_dead_total", event_type="thing.happened.v1") == 1
    )
    assert service.metric("shop_events_retried_total", event_type="thing.happened.v1") == 2
    attempts = [
        (line["event"], line["attempt"]) for line in service.log_lines() if "attempt" in line
    ]
    assert attempts == [("failed, will retry", 1), ("failed, will retry", 2), ("dead", 3)]


class UnreliableGateway:
    """A gateway that can be made unavailable."""

    def __init__(self) -> None:
        self.is_available = False

    def probe(self) -> None:
        if not self.is_available:
            raise DependencyUnavailable("the gateway is away")

    def close(self) -> None:
        """There is nothing to close."""


def test_a_service_pauses_consuming_while_its_gateway_is_away(
    start: Start,
) -> None:
    gateway = UnreliableGateway()

    def call(event: ThingHappened, work: Work) -> None:
        gateway.probe()
        count(event, work)

    service = start(call, gateway=gateway)
    service.send(ThingHappened(name="a"))
    eventually(lambda: service.log_lines("consuming paused"))
    assert not service.runner.is_consuming

    gateway.is_available = True

    eventually(lambda: service.counts() == {"a": 1})
    (handled,) = service.log_lines("handled")
    assert handled["attempt"] == 1


def test_pauses_grow_while_the_probe_succeeds_and_nothing_can_be_handled(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot_write(*_: object) -> None:
        raise OperationalError("INSERT", {}, OSError(errno.ENOSPC, ""))

    monkeypatch.setattr(failures, "record", cannot_write)
    service = start(cannot_write)
    service.send(ThingHappened(name="a"))
    eventually(lambda: len(service.log_lines("consuming paused")) == 3)

    times = [
        datetime.fromisoformat(line["timestamp"]) for line in service.log_lines("consuming resumed")
    ]
    assert times[1] - times[0] >= timedelta(seconds=0.5)
    assert {line["reason"] for line in service.log_lines("consuming paused")} == {
        "a failed attempt could not be recorded: the disk is full"
    }


def test_stopping_finishes_the_handler_that_runs(start: Start) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly(event: ThingHappened, work: Work) -> None:
        begun.set()
        go_on.wait(20)
        count(event, work)

    service = start(slowly)
    service.send(ThingHappened(name="a"))
    assert begun.wait(20)

    service.runner.stop()
    go_on.set()

    assert service.runner.join(time.monotonic() + 20)
    assert service.counts() == {"a": 1}


def test_a_hung_handler_costs_only_its_own_message_an_attempt(
    start: Start,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hang(event: ThingHappened, work: Work) -> None:
        if event.name == "hangs":
            begun.set()
            go_on.wait(20)
            return
        count(event, work)

    service = start(hang)
    service.send(*(ThingHappened(name="proof") for _ in range(SLOW_START_AFTER)))
    eventually(lambda: service.counts() == {"proof": SLOW_START_AFTER})
    service.send(*(ThingHappened(name=name) for name in ("a", "hangs", "b")))
    assert begun.wait(20)

    service.stop_and_abandon()

    consumer = service.broker.consumer("counting", prefetch=10, slow_start=False)
    deliveries: list[Any] = []

    def take() -> bool:
        deliveries.extend(consumer.take(10, wait=0.1))
        return len(deliveries) == 3

    eventually(take)
    attempts = {json.loads(each.body)["subject"]: each.attempt for each in deliveries}
    consumer.settle([(each, Outcome.REQUEUE) for each in deliveries])
    consumer.close()
    go_on.set()
    assert attempts == {"a": 1, "hangs": 2, "b": 1}
    [line] = service.log_lines("failed attempt not recorded")
    assert "in hang" in line["stack"]


def test_a_service_waits_for_its_queue_and_logs_the_reason(tmp_path: Path) -> None:
    service = RunningService(tmp_path)
    with service.broker._file.opened() as connection:
        connection.execute("DELETE FROM queues")
    service.runner.start()
    eventually(lambda: any("shop setup" in str(each.get("reason")) for each in service.log_lines()))

    service.broker.set_up(Topology(queues=(counting().queue(),)))
    service.send(ThingHappened(name="a"))

    eventually(lambda: service.counts() == {"a": 1})
    service.close()


def test_a_service_binds_its_queue_when_it_starts(tmp_path: Path) -> None:
    service = RunningService(tmp_path)
    service.broker.set_up(Topology(queues=(replace(counting().queue(), topics=frozenset()),)))

    service.runner.start()
    eventually(lambda: service.runner.is_consuming)
    service.send(ThingHappened(name="a"))

    eventually(lambda: service.counts() == {"a": 1})
    service.close()


CANARY = "jane.canary@example.com, 12 Canary Row"


@pytest.mark.parametrize(
    "error",
    [TransientFailure(), PermanentFailure(), ValueError(CANARY), DependencyUnavailable()],
    ids=lambda error: type(error).__name__,
)
def test_no_line_and_no_metric_contains_fields_of_the_event(
    start: Start, serve: Serve, error: Exception
) -> None:
    def leak(event: ThingHappened, work: Work) -> None:
        del work
        raise error from RuntimeError(event.secret)

    service = start(leak)
    service.send(ThingHappened(name="a", secret=CANARY))
    service.send(ThingHappened(name="b"), body=b'{"to": "%s"}' % CANARY.encode())

    eventually(lambda: service.dead_letters() == 2)

    with urllib.request.urlopen(serve(service) + "/metrics") as answer:
        metrics = answer.read().decode()
    assert "shop_events_dead_total" in metrics
    assert "canary" not in (service.log_output.getvalue() + metrics).lower()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves the health of a service; returns the address."""
    servers: list[HealthServer] = []

    def serve_one(service: RunningService) -> str:
        runner = service.runner
        registry = service.metrics.registry
        server = HealthServer(
            "127.0.0.1", 0, health=runner.health, readiness=runner.readiness, registry=registry
        )
        servers.append(server)
        return f"http://127.0.0.1:{server.port}"

    yield serve_one
    for each in servers:
        each.close()


def test_health_and_readiness_answer_200_while_running_and_503_when_stopped(
    start: Start, serve: Serve
) -> None:
    service = start()
    address = serve(service)
    eventually(lambda: service.runner.is_consuming)
    for path in ("/healthz", "/readyz"):
        with urllib.request.urlopen(address + path) as answer:
            assert answer.read() == b"ok\n"

    service.runner.stop()
    assert service.runner.join(time.monotonic() + 20)

    for path in ("/healthz", "/readyz"):
        with pytest.raises(urllib.error.HTTPError, match="503") as refused:
            urllib.request.urlopen(address + path)
        refused.value.close()


def test_a_port_that_is_in_use_is_invalid_input(start: Start, serve: Serve) -> None:
    service = start()
    port = int(serve(service).rpartition(":")[2])

    with pytest.raises(InvalidInput, match="SHOP_HTTP_PORT"):
        HealthServer(
            "127.0.0.1", port, health=list, readiness=list, registry=service.metrics.registry
        )
