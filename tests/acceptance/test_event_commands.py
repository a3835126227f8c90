"""The commands `shop events …` on a running shop, on both brokers."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from subprocess import PIPE, Popen
from typing import Any

import pytest

from services.orders.store import OrdersStore
from tests.acceptance.conftest import Opening
from tests.acceptance.shop import RunningShop
from tests.support.commanding import Shop as Program
from tests.support.waiting import eventually

PATIENCE = 20.0
TYPES = ["order.placed.v1", "stock.reserved.v1", "payment.received.v1", "order.shipped.v1"]


@pytest.fixture
def program(
    open_shop: Opening, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Program:
    """The program `shop`, with the settings of the shop that a test opens."""
    del open_shop
    return Program(monkeypatch, capsys)


def sell(shop: RunningShop, order: str) -> None:
    """Place an order, pay it, and wait until everybody has heard that it was shipped."""
    shop.place(order)
    shop.pay(order, "49.99")
    eventually(partial(_is_shipped_everywhere, shop, order))


def _is_shipped_everywhere(shop: RunningShop, order: str) -> bool:
    row = shop.query("orders", partial(OrdersStore.find, order_id=order))
    counted = shop.handled("analytics").count("order.shipped.v1")
    mailed = shop.handled("email").count("order.shipped.v1")
    return bool(row and row.status == "shipped" and counted == mailed > 0)


def test_the_history_is_shown_filtered_and_as_cloud_events(
    open_shop: Opening, program: Program
) -> None:
    with open_shop() as shop:
        sell(shop, "ORD-1")
        shop.place("ORD-2")
        eventually(lambda: len(program("events", "history").out.splitlines()) == 6)

        lines = program("events", "history", "--order", "ORD-1").out.splitlines()
        placed = program("events", "history", "--type", "order.placed", "--json").out.splitlines()
        latest = program("events", "history", "--limit", "2").out.splitlines()

    assert all("ORD-1" in line for line in lines)
    assert sorted(line.split()[2] for line in lines) == sorted(TYPES)
    assert "123 Main St" not in "".join(lines)
    events = [json.loads(line) for line in placed]
    assert [each["data"]["order_id"] for each in events] == ["ORD-1", "ORD-2"]
    assert {each["specversion"] for each in events} == {"1.0"}
    assert ["ORD-2" in line for line in latest] == [True, True]


def test_a_timeline_shows_what_each_service_did(open_shop: Opening, program: Program) -> None:
    with open_shop() as shop:
        sell(shop, "ORD-1")

        timeline = program("events", "timeline", "ORD-1", "--json").json
        text = program("events", "timeline", "ORD-1").out

    events = timeline["events"]
    assert sorted(each["type"] for each in events) == sorted(TYPES)
    assert [each["occurred_at"] for each in events] == sorted(
        each["occurred_at"] for each in events
    )
    assert timeline["notes"] == []
    by_type = {each["type"]: each for each in events}
    assert by_type["stock.reserved.v1"]["causation_id"] == by_type["order.placed.v1"]["event_id"]
    placed = {each["service"]: each for each in by_type["order.placed.v1"]["services"]}
    assert placed.keys() == {"inventory", "email", "shipping", "analytics", "loyalty"}
    assert {each["outcome"] for each in placed.values()} == {"handled"}
    assert all(len(line) <= 100 for line in text.splitlines())
    assert "✓ inventory" in text


def test_a_replayed_event_is_a_duplicate_to_a_service_that_has_handled_it(
    open_shop: Opening, program: Program
) -> None:
    with open_shop() as shop:
        sell(shop, "ORD-1")
        before = shop.handled("loyalty")

        counted = program("events", "replay", "--to", "loyalty", "--dry-run", "--json").json
        sent = program("events", "replay", "--to", "loyalty", "--json").json

        assert counted == {"service": "loyalty", "events": 1, "unreadable": 0, "sent": False}
        assert sent == counted | {"sent": True}
        assert shop.handled("loyalty") == before
    assert program("events", "history").out.count("order.placed.v1") == 1


@pytest.mark.parametrize("name", ["loyalty", "analytics"])
def test_a_stopped_service_is_rebuilt_to_the_same_state_and_a_running_one_refused(
    open_shop: Opening, program: Program, name: str
) -> None:
    with open_shop() as shop:
        sell(shop, "ORD-1")
        eventually(lambda: _is_refused_as_running(program, name))

    rebuilt = program("events", "rebuild", name, "--yes", "--json").json

    assert rebuilt["as_it_was"] is True
    assert rebuilt["handled"] == {"loyalty": 1, "analytics": 4}[name]


def _is_refused_as_running(program: Program, name: str) -> bool:
    refused = program("events", "rebuild", name, "--yes")
    assert refused.code == 1, refused.out
    return f"{name} is running" in refused.err


@contextmanager
def tail(*arguments: str) -> Iterator["Popen[str]"]:
    """Run `shop events tail` as a process; it has begun to read the history."""
    command = [sys.executable, "-m", "shop.cli", "events", "tail", *arguments]
    with Popen(command, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stderr is not None
        assert "from now on" in process.stderr.readline()
        try:
            yield process
        finally:
            process.kill()


def test_new_events_are_shown_until_interrupted(open_shop: Opening) -> None:
    with open_shop() as shop:
        shop.place("ORD-1")
        eventually(lambda: shop.handled("loyalty"))
        with tail("--json", "--order", "ORD-2") as process:
            shop.place("ORD-3")
            shop.place("ORD-2")
            assert process.stdout is not None
            event: Any = json.loads(process.stdout.readline())

            process.send_signal(signal.SIGINT)

            assert process.wait(PATIENCE) == 0
    assert event["type"] == "order.placed.v1"
    assert event["data"]["order_id"] == "ORD-2"
