"""The program `shop` as a person meets it: installed, in processes of its own, embedded."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from shop import registry
from tests.support.waiting import eventually

SHOP = Path(sys.executable).with_name("shop")
GRACE = 20
"""Seconds that a process may take to end; the default of SHOP_GRACE."""

NOBODY = "127.0.0.1:1"
"""An address at which nobody answers."""

WHO = ("--email", "jane@example.com", "--address", "12 Main St")
ORDER_FIELDS = {
    *("order_id", "status", "customer_email", "shipping_address", "items", "total_amount"),
    *("currency", "correlation_id", "payment_method", "refunded_amount", "cancel_reason"),
    *("carrier", "tracking_number"),
    *("placed_at", "reserved_at", "paid_at", "shipped_at", "cancelled_at"),
}


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shop:
    """Runs `shop` with its data in one folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._log = home.with_suffix(".log")

    def __call__(self, *arguments: str, **settings: object) -> Said:
        done = subprocess.run(
            [SHOP, *arguments],
            env=self._environment(settings),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def did(self, *arguments: str) -> Any:
        """What a command that goes well answers as JSON."""
        said = self(*arguments, "--json")
        assert (said.code, said.err) == (0, "")
        return said.json

    @contextmanager
    def running(self, *arguments: str) -> Iterator["Process"]:
        """Services in a process of their own, during the block."""
        with self._log.open("a") as log:
            process = subprocess.Popen(
                [SHOP, *arguments], env=self._environment({}), stdout=log, stderr=log
            )
        try:
            yield Process(process, self._log)
        finally:
            process.kill()
            process.wait(GRACE)

    def kept(self) -> tuple[int, ...]:
        """How many orders, lines and outgoing events are written."""
        with closing(sqlite3.connect(self.home / "orders.db")) as connection:
            return tuple(
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - ours
                for table in ("orders", "order_lines", "outbox")
            )

    def _environment(self, settings: dict[str, object]) -> dict[str, str]:
        before = {name: text for name, text in os.environ.items() if not name.startswith("SHOP_")}
        ours = {"home": self.home} | settings
        return before | {f"SHOP_{name.upper()}": str(value) for name, value in ours.items()}


class Process(NamedTuple):
    """A process of services."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        """What has been logged, without a line that is being written."""
        whole = self.log.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def has_started(self, name: str) -> bool:
        return any(
            (line["event"], line.get("service")) == ("started", name) for line in self.lines()
        )

    def has_handled(self, name: str, event_type: str, *orders: str) -> bool:
        """Whether a service has said that it handled such events of these orders."""
        return set(orders) <= {
            line["order_id"]
            for line in self.lines()
            if (line["event"], line.get("service")) == ("handled", name)
            and line["event_type"] == event_type
        }

    def ends_on(self, number: signal.Signals) -> int:
        """The exit code with which it ends when it is sent a signal."""
        self.process.send_signal(number)
        return self.process.wait(GRACE)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "var")


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop in which ORD-1 has been placed: one product-1, 49.99; no service runs."""
    shop = Shop(tmp_path_factory.mktemp("used") / "var")
    assert shop("orders", "place", *WHO, "--item", "product-1=1", "--id", "ORD-1").code == 0
    return shop


def one_sentence(said: Said) -> str:
    """The one line on standard error that says what was wrong."""
    (line,) = said.err.splitlines()
    assert line.startswith("shop: ")
    assert said.out == ""
    return line.removeprefix("shop: ")


def place(*arguments: str, email: str = "a@b.example", address: str = "Here 1") -> Sequence[str]:
    return ("orders", "place", "--email", email, "--address", address, *arguments)


ONE = ("--item", "product-1=1")

WRONG_INPUT = {
    "an unknown product": (place("--item", "product-9=1"), "product-9"),
    "a quantity of none": (place("--item", "product-1=0"), "--item"),
    "a negative quantity": (place("--item", "product-1=-1"), "--item"),
    "a quantity that is no number": (place("--item", "product-1=x"), "--item"),
    "no item": (place(), "--item"),
    "a malformed mail address": (place(*ONE, email="jane"), "--email"),
    "a mail address with a line break": (place(*ONE, email="a@b.example\nBcc: c@d.ex"), "--email"),
    "no address": (place(*ONE, address=""), "--address"),
    "an address with a line break": (place(*ONE, address="Here\n1"), "--address"),
    "an id with a blank": (place(*ONE, "--id", "ORD 2"), "order's id"),
    "an amount with three decimals": (("orders", "pay", "ORD-1", "--amount", "49.991"), "--amount"),
    "a negative amount": (("orders", "pay", "ORD-1", "--amount", "-49.99"), "--amount"),
    "a huge amount": (("orders", "pay", "ORD-1", "--amount", "1e400"), "--amount"),
    "an amount that is no number": (("orders", "pay", "ORD-1", "--amount", "nan"), "--amount"),
    "another amount": (("orders", "pay", "ORD-1", "--amount", "49.98"), "49.99"),
    "an unknown order to pay": (("orders", "pay", "ORD-9", "--amount", "1.00"), "ORD-9"),
    "an unknown service": (("run", "payments"), "payments"),
    "an unknown option": (("orders", "list", "--colour"), "--colour"),
    "an unknown command": (("order",), "order"),
    "a customer that is none": (("loyalty", "balance", "jane"), "EMAIL"),
}


@pytest.mark.parametrize(("arguments", "named"), WRONG_INPUT.values(), ids=WRONG_INPUT)
def test_wrong_input_is_told_in_a_sentence_and_nothing_is_written(
    used: Shop, arguments: Sequence[str], named: str
) -> None:
    said = used(*arguments)

    assert named in one_sentence(said)
    assert said.code == 2
    assert used.kept() == (1, 1, 1)


WRONG_SETTINGS = {
    "a port that is no number": ("orders", {"http_port": "eighty"}, "SHOP_HTTP_PORT"),
    "a level that there is not": ("orders", {"log_level": "loud"}, "SHOP_LOG_LEVEL"),
    "a grace of none": ("orders", {"grace": 0}, "SHOP_GRACE"),
    "a batch of none": ("orders", {"orders_batch_size": 0}, "SHOP_ORDERS_BATCH_SIZE"),
    "an inbox that forgets before the history": (
        "orders",
        {"inbox_keep": 1},
        "SHOP_HISTORY_DAYS",
    ),
    "a broker of another kind": ("orders", {"broker_url": "kafka://x:hunter2@h"}, "amqp://"),
    "a database of another kind": (
        "orders",
        {"database_url": "mysql://x:hunter2@h/x"},
        "SHOP_DATABASE_URL",
    ),
    "a database's port that is none": (
        "orders",
        {"database_url": "postgresql://x:hunter2@h:x/y"},
        "SHOP_DATABASE_URL",
    ),
    "a mail server of another kind": ("email", {"smtp_url": "imap://x:hunter2@h"}, "SHOP_SMTP_URL"),
}


@pytest.mark.parametrize(("name", "settings", "told"), WRONG_SETTINGS.values(), ids=WRONG_SETTINGS)
def test_a_wrong_setting_is_named_and_not_repeated(
    shop: Shop, name: str, settings: dict[str, object], told: str
) -> None:
    said = shop("run", name, **settings)

    sentence = one_sentence(said)
    assert told in sentence
    assert "hunter2" not in sentence
    assert said.code == 2


@pytest.mark.parametrize("arguments", [("orders", "list"), ("run", "orders"), ("setup",)])
def test_a_home_that_cannot_be_written_is_said_so(shop: Shop, arguments: Sequence[str]) -> None:
    shop.home.write_text("a file, and no folder")

    said = shop(*arguments)

    assert str(shop.home) in one_sentence(said)
    assert said.code == 1


def test_a_home_may_have_any_name(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "50 % of {what}? #1")

    said = shop("orders", "place", *WHO, *ONE)

    assert (said.code, said.err) == (0, "")
    assert shop.kept() == (1, 1, 1)


def test_a_broker_that_cannot_be_reached_is_said_so(used: Shop) -> None:
    said = used("setup", broker_url=f"amqp://jane:hunter2@{NOBODY}")

    (line,) = said.err.splitlines()
    assert line.startswith(f"shop: the broker at {NOBODY} cannot be reached")
    assert "hunter2" not in said.out + said.err
    assert said.code == 1


@pytest.mark.parametrize("arguments", [("orders", "list"), ("setup",), place(*ONE)])
def test_a_database_that_cannot_be_reached_is_said_so(shop: Shop, arguments: Sequence[str]) -> None:
    said = shop(*arguments, database_url=f"postgresql://jane:hunter2@{NOBODY}/shop")

    sentence = one_sentence(said)
    assert "127.0.0.1/shop" in sentence
    assert "hunter2" not in sentence
    assert said.code == 1


def test_a_port_in_use_is_said_so(shop: Shop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = shop("run", "orders", http_port=port)

    assert f"SHOP_HTTP_PORT: 127.0.0.1:{port} cannot be used" in one_sentence(said)
    assert said.code == 2


def test_the_doctor_tells_what_is_missing_and_after_set_up_that_nothing_is(shop: Shop) -> None:
    before = shop("doctor", "--json")
    done, again = shop("setup"), shop("setup")
    after = shop("doctor", "--json")

    assert (before.code, done.code, again.code, after.code) == (1, 0, 0, 0)
    assert done.out.count(": migrated") == len(registry.names())
    assert "migrated" not in again.out
    assert [each.keys() for each in after.json] == [{"what", "ok", "says"}] * len(after.json)
    ill = {each["what"] for each in before.json if not each["ok"]}
    databases = {f"database of {name}" for name in registry.names()}
    assert databases <= ill
    assert all(each["ok"] for each in after.json)
    assert {each["what"] for each in after.json} >= databases | {"broker", "topology"}
    assert before.err + done.err + again.err + after.err == ""


def test_the_doctor_explains_what_cannot_be_reached_without_a_password(used: Shop) -> None:
    said = used(
        "doctor",
        "--json",
        broker_url=f"amqp://jane:hunter2@{NOBODY}",
        database_url=f"postgresql://jane:hunter2@{NOBODY}/shop",
    )

    found = {each["what"]: each for each in said.json}
    assert not found["broker"]["ok"]
    assert "cannot be reached" in found["broker"]["says"]
    assert found["database of orders"]["says"].endswith("does not answer")
    assert "hunter2" not in said.out
    assert (said.code, said.err) == (1, "")


def test_six_processes_ship_what_the_command_line_orders(shop: Shop) -> None:
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(shop.running("run", name)) for name in registry.names()
        }
        first = shop.did("orders", "place", *WHO, "--item", "product-1=2", "--id", "ORD-123")
        for name, process in processes.items():
            eventually(partial(process.has_started, name))
        shop.did("orders", "place", *WHO, "--item", "product-3=8", "--id", "ORD-125")
        shop.did("orders", "place", *WHO, "--item", "product-2=3", "--id", "ORD-126")
        paid = shop.did("orders", "pay", "ORD-123", "--amount", "99.98", "--method", "card")
        cancelled = shop.did("orders", "cancel", "ORD-126", "--reason", "too late")
        for name in ("orders", "email", "analytics"):
            eventually(partial(process.has_handled, name, "order.shipped.v1", "ORD-123"))
        for name in ("inventory", "email", "shipping", "loyalty", "analytics"):
            gone = ("order.cancelled.v1", "ORD-125", "ORD-126")
            eventually(partial(process.has_handled, name, *gone))
        codes = {name: each.ends_on(signal.SIGTERM) for name, each in processes.items()}

    assert codes == dict.fromkeys(registry.names(), 0)
    # A mail may be asked for before its address is known, and is then sent later.
    assert {line.get("error", "NotKnownYet") for line in process.lines()} == {"NotKnownYet"}
    _check_orders(shop, first=first, paid=paid, cancelled=cancelled)
    _check_the_others(shop)


def _check_orders(shop: Shop, **orders: dict[str, Any]) -> None:
    first = orders["first"]
    assert first.keys() == ORDER_FIELDS
    assert {name: first[name] for name in ("order_id", "status", "items")} == {
        "order_id": "ORD-123",
        "status": "placed",
        "items": {"product-1": 2},
    }
    assert (first["total_amount"], first["currency"]) == ("99.98", "EUR")
    assert orders["paid"]["status"] in ("paid", "shipped")
    assert orders["paid"]["payment_method"] == "card"
    assert orders["cancelled"]["status"] == "cancelled"
    assert orders["cancelled"]["cancel_reason"] == "too late"
    listed = shop.did("orders", "list")
    assert [each["order_id"] for each in listed] == ["ORD-126", "ORD-125", "ORD-123"]
    assert [each["status"] for each in listed] == ["cancelled", "cancelled", "shipped"]
    assert shop.did("orders", "list", "--status", "cancelled", "--limit", "1") == listed[:1]
    shipped = shop.did("orders", "show", "ORD-123")
    assert shipped == listed[2]
    for name in ("placed_at", "reserved_at", "paid_at", "shipped_at"):
        assert datetime.fromisoformat(shipped[name]).utcoffset() is not None
    assert shipped["cancelled_at"] is None


def _check_the_others(shop: Shop) -> None:
    assert shop.did("inventory", "stock") == [
        {"sku": "product-1", "available": 98, "reserved": 2},
        {"sku": "product-2", "available": 50, "reserved": 0},
        {"sku": "product-3", "available": 5, "reserved": 0},
    ]
    restocked = shop.did("inventory", "restock", "product-3", "7")
    assert restocked == {"sku": "product-3", "available": 12, "reserved": 0}
    shipments = {each["order_id"]: each for each in shop.did("shipping", "list")}
    assert {order: each["status"] for order, each in shipments.items()} == {
        "ORD-123": "shipped",
        "ORD-125": "void",
        "ORD-126": "void",
    }
    assert shipments["ORD-123"]["carrier"]
    assert shipments["ORD-123"]["tracking_number"]
    assert shop.did("loyalty", "balance", "jane@example.com") == {
        "customer_email": "jane@example.com",
        "points": 99,
    }
    mails = shop.did("email", "sent")
    assert [each.keys() for each in mails] == [{"order_id", "kind", "to", "subject", "sent_at"}] * 6
    assert {each["to"] for each in mails} == {"jane@example.com"}
    report = shop.did("analytics", "report")
    assert (report["orders_placed"], report["orders_cancelled"]) == (3, 2)
    assert report["revenue"] == "99.98"
    assert report["units"] == {"product-1": 2, "product-2": 3, "product-3": 8}
    assert report["events"]["order.placed.v1"] == 3


def test_all_services_in_one_process_end_on_ctrl_c(shop: Shop) -> None:
    with shop.running("up") as process:
        for name in registry.names():
            eventually(partial(process.has_started, name))
        shop.did("orders", "place", *WHO, *ONE, "--id", "ORD-1")
        eventually(partial(process.has_handled, "orders", "stock.reserved.v1", "ORD-1"))

        assert process.ends_on(signal.SIGINT) == 0

    assert process.lines()[-1]["event"] == "stopped"
    assert shop.did("orders", "show", "ORD-1")["status"] == "reserved"


def test_the_demo_ends_by_itself_and_all_is_as_it_should_be(shop: Shop) -> None:
    said = shop("demo")

    assert (said.code, said.err) == (0, "")
    assert "All as it should be" in said.out
    assert not shop.home.exists(), "its data is temporary"


def test_asking_for_help_loads_no_database_and_no_broker() -> None:
    look = "import sys, shop.cli; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", look], capture_output=True, check=True).stdout

    assert not {b"sqlalchemy", b"psycopg", b"pydantic", b"pika"} & set(loaded.split())


def test_without_a_command_it_says_what_there_is(shop: Shop) -> None:
    said = shop("--help")

    assert said.code == 0
    for name in ("demo", "up", "run", "setup", "doctor", *registry.names()):
        assert name in said.out
