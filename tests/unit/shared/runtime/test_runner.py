import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.errors import DependencyUnavailable, InvalidInput, PermanentFailure, TransientFailure
from shared.messaging.ports.consumer import SLOW_START_AFTER, Outcome
from shared.messaging.topology import Topology
from shared.runtime import health
from tests.support.counting import ThingHappened, Work, count, counting
from tests.support.play import Play
from tests.support.waiting import eventually


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[..., Play]]:
    plays: list[Play] = []

    def begin(handler: Any = count, gateway: Any = None) -> Play:
        plays.append(Play(tmp_path, handler, gateway))
        plays[-1].running.start()
        return plays[-1]

    yield begin
    for each in plays:
        each.end()


def test_a_running_service_reacts_and_sends_what_it_said(play: Callable[..., Play]) -> None:
    at = play()
    at.send(ThingHappened(name="a"), ThingHappened(name="b"))

    eventually(lambda: at.counted() == {"a": 1, "b": 1})
    eventually(lambda: at.metric("shop_events_published_total") == 2)

    assert at.metric("shop_outbox_depth") == 0


def test_every_line_about_an_event_names_it(play: Callable[..., Play]) -> None:
    at = play()
    event = ThingHappened(name="ORD-1")
    at.send(event)

    eventually(lambda: any(line["event"] == "handled" for line in at.lines()))

    (line,) = [line for line in at.lines() if line["event"] == "handled"]
    assert line["service"] == "counting"
    assert line["event_id"] == str(event.event_id)
    assert line["event_type"] == "thing.happened.v1"
    assert line["order_id"] == "ORD-1"
    assert line["attempt"] == 1
    assert line["did"] == "counted ORD-1"


def test_a_message_that_keeps_failing_ends_dead_and_each_attempt_is_told(
    play: Callable[..., Play],
) -> None:
    def refuse(event: ThingHappened, work: Work) -> None:
        del event, work
        raise TransientFailure("not now")

    at = play(refuse)
    at.send(ThingHappened(name="a"))

    eventually(lambda: at.dead() == 1)

    eventually(lambda: at.metric("shop_events_dead_total", event_type="thing.happened.v1") == 1)
    assert at.metric("shop_events_retried_total", event_type="thing.happened.v1") == 2
    told = [(line["event"], line["attempt"]) for line in at.lines() if "attempt" in line]
    assert told == [("failed, will retry", 1), ("failed, will retry", 2), ("dead", 3)]


class Line:
    """A gateway that can be cut."""

    def __init__(self) -> None:
        self.is_cut = True

    def probe(self) -> None:
        if self.is_cut:
            raise DependencyUnavailable("the line is cut")

    def close(self) -> None:
        """Nothing to let go of."""


def test_it_stops_consuming_while_its_environment_is_away_and_then_resumes(
    play: Callable[..., Play],
) -> None:
    line = Line()

    def call(event: ThingHappened, work: Work) -> None:
        line.probe()
        count(event, work)

    at = play(call, gateway=line)
    at.send(ThingHappened(name="a"))
    eventually(lambda: any(each["event"] == "stopped consuming" for each in at.lines()))
    assert not at.running.is_consuming

    line.is_cut = False

    eventually(lambda: at.counted() == {"a": 1})
    (handled,) = [each for each in at.lines() if each["event"] == "handled"]
    assert handled["attempt"] == 1


def test_stopping_finishes_what_was_begun(play: Callable[..., Play]) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly(event: ThingHappened, work: Work) -> None:
        begun.set()
        go_on.wait(20)
        count(event, work)

    at = play(slowly)
    at.send(ThingHappened(name="a"))
    assert begun.wait(20)

    at.running.stop()
    go_on.set()

    assert at.running.join(time.monotonic() + 20)
    assert at.counted() == {"a": 1}


def test_a_handler_past_its_deadline_costs_only_its_own_message_an_attempt(
    play: Callable[..., Play],
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hang(event: ThingHappened, work: Work) -> None:
        if event.name == "hangs":
            begun.set()
            go_on.wait(20)
            return
        count(event, work)

    at = play(hang)
    at.send(*(ThingHappened(name="proof") for _ in range(SLOW_START_AFTER)))
    eventually(lambda: at.counted() == {"proof": SLOW_START_AFTER})
    at.send(*(ThingHappened(name=name) for name in ("a", "hangs", "b")))
    assert begun.wait(20)

    at.running.stop()
    at.running.abandon()

    consumer = at.broker.consumer("counting", prefetch=10, slow_start=False)
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
    [line] = [each for each in at.lines() if each["event"] == "not on record"]
    assert "in hang" in line["stack"]


def test_a_queue_that_is_not_there_is_waited_for_and_said(tmp_path: Path) -> None:
    at = Play(tmp_path)
    with at.broker._file.opened() as connection:
        connection.execute("DELETE FROM queues")
    at.running.start()
    eventually(lambda: any("shop setup" in str(each.get("reason")) for each in at.lines()))

    at.broker.set_up(Topology(queues=(counting().queue(),)))
    at.send(ThingHappened(name="a"))

    eventually(lambda: at.counted() == {"a": 1})
    at.end()


def test_a_service_binds_its_queue_when_it_starts(tmp_path: Path) -> None:
    at = Play(tmp_path)
    at.broker.set_up(Topology(queues=(replace(counting().queue(), topics=frozenset()),)))

    at.running.start()
    eventually(lambda: at.running.is_consuming)
    at.send(ThingHappened(name="a"))

    eventually(lambda: at.counted() == {"a": 1})
    at.end()


CANARY = "jane.canary@example.com, 12 Canary Row"


@pytest.mark.parametrize(
    "error",
    [TransientFailure(), PermanentFailure(), ValueError(CANARY), DependencyUnavailable()],
    ids=lambda error: type(error).__name__,
)
def test_no_line_and_no_metric_holds_what_the_event_held(
    play: Callable[..., Play], error: Exception
) -> None:
    def leak(event: ThingHappened, work: Work) -> None:
        del work
        raise error from RuntimeError(event.secret)

    at = play(leak)
    at.send(ThingHappened(name="a", secret=CANARY))
    at.send(ThingHappened(name="b"), body=b'{"to": "%s"}' % CANARY.encode())

    eventually(lambda: at.dead() == 2)

    with urllib.request.urlopen(_served(at) + "/metrics") as answer:
        metrics = answer.read().decode()
    assert "shop_events_dead_total" in metrics
    assert "canary" not in (at.logged.getvalue() + metrics).lower()


def _served(at: Play) -> str:
    server = health.serve(
        "127.0.0.1",
        0,
        health=at.running.health,
        readiness=at.running.readiness,
        registry=at.metrics.registry,
    )
    return f"http://127.0.0.1:{server.server_address[1]}"


def test_health_and_readiness_tell_a_living_service_from_a_stopped_one(
    play: Callable[..., Play],
) -> None:
    at = play()
    address = _served(at)
    eventually(lambda: at.running.is_consuming)
    for path in ("/healthz", "/readyz"):
        with urllib.request.urlopen(address + path) as answer:
            assert answer.read() == b"ok\n"

    at.running.stop()
    assert at.running.join(time.monotonic() + 20)

    for path in ("/healthz", "/readyz"):
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(address + path)


def test_a_port_in_use_is_said_in_a_sentence(play: Callable[..., Play]) -> None:
    at = play()
    port = int(_served(at).rpartition(":")[2])

    with pytest.raises(InvalidInput, match="SHOP_HTTP_PORT"):
        health.serve("127.0.0.1", port, health=list, readiness=list, registry=at.metrics.registry)
