"""The installed program `shop`, run in separate processes with the embedded broker."""

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
"""Seconds that a process may take to stop; the default of SHOP_GRACE."""

CLOSED_PORT = "127.0.0.1:1"
"""An address on which no server listens."""

CUSTOMER = ("--email", "jane@example.com", "--address", "12 Main St")
ORDER_FIELDS = {
    *("order_id", "status", "customer_email", "shipping_address", "items", "total_amount"),
    *("currency", "correlation_id", "payment_method", "refunded_amount", "cancel_reason"),
    *("carrier", "tracking_number"),
    *("placed_at", "reserved_at", "paid_at", "shipped_at", "cancelled_at"),
}


class CompletedCommand(NamedTuple):
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class InstalledShop:
    """Runs `shop` with its data in one folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._log = home.with_suffix(".log")

    def __call__(self, *arguments: str, **settings: object) -> CompletedCommand:
        completed = subprocess.run(
            [SHOP, *arguments],
            env=self._environment(settings),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return CompletedCommand(completed.returncode, completed.stdout, completed.stderr)

    def json_of(self, *arguments: str) -> Any:
        """The JSON output of a command that must succeed."""
        self.home.mkdir(exist_ok=True)
        (self.home / "any.db").touch()  # so the shop is not a new one
        result = self(*arguments, "--json")
        assert (result.code, result.err) == (0, "")
        return result.json

    @contextmanager
    def running(self, *arguments: str) -> Iterator["ServiceProcess"]:
        """Run services in a separate process during the block."""
        with self._log.open("a") as log:
            process = subprocess.Popen(
                [SHOP, *arguments], env=self._environment({}), stdout=log, stderr=log
            )
        try:
            yield ServiceProcess(process, self._log)
        finally:
            process.kill()
            process.wait(GRACE)

    def row_counts(self) -> tuple[int, ...]:
        """The numbers of orders, order lines and outgoing events in the database."""
        with closing(sqlite3.connect(self.home / "orders.db")) as connection:
            return tuple(
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - ours
                for table in ("orders", "order_lines", "outbox")
            )

    def _environment(self, settings: dict[str, object]) -> dict[str, str]:
        others = {name: text for name, text in os.environ.items() if not name.startswith("SHOP_")}
        settings = {"home": self.home} | settings
        return others | {f"SHOP_{name.upper()}": str(value) for name, value in settings.items()}


class ServiceProcess(NamedTuple):
    """A process that runs services."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        """The complete lines of the log."""
        complete = self.log.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in complete.splitlines()]

    def has_started(self, name: str) -> bool:
        return any(
            (line["event"], line.get("service")) == ("started", name) for line in self.lines()
        )

    def has_handled(self, name: str, event_type: str, *orders: str) -> bool:
        """Whether a service has logged that it handled this event of these orders."""
        return set(orders) <= {
            line["order_id"]
            for line in self.lines()
            if (line["event"], line.get("service")) == ("handled", name)
            and line["event_type"] == event_type
        }

    def exit_code_after(self, number: signal.Signals) -> int:
        """Send a signal; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(GRACE)


@pytest.fixture
def shop(tmp_path: Path) -> InstalledShop:
    return InstalledShop(tmp_path / "var")


@pytest.fixture(scope="module")
def shop_with_order(tmp_path_factory: pytest.TempPathFactory) -> InstalledShop:
    """A shop with one order, ORD-1: one product-1, 49.99; no service runs."""
    shop = InstalledShop(tmp_path_factory.mktemp("home") / "var")
    assert shop("orders", "place", *CUSTOMER, "--item", "product-1=1", "--id", "ORD-1").code == 0
    return shop


def error_sentence(result: CompletedCommand) -> str:
    """The only line on standard error; standard output must be empty."""
    (line,) = result.err.splitlines()
    assert line.startswith("shop: ")
    assert result.out == ""
    return line.removeprefix("shop: ")


def place(*arguments: str, email: str = "a@b.example", address: str = "Here 1") -> Sequence[str]:
    return ("orders", "place", "--email", email, "--address", address, *arguments)


ONE_ITEM = ("--item", "product-1=1")

INVALID_INPUT = {
    "an unknown product": (place("--item", "product-9=1"), "product-9"),
    "a quantity of zero": (place("--item", "product-1=0"), "--item"),
    "a negative quantity": (place("--item", "product-1=-1"), "--item"),
    "a quantity that is not a number": (place("--item", "product-1=x"), "--item"),
    "no item": (place(), "--item"),
    "a malformed email address": (place(*ONE_ITEM, email="jane"), "--email"),
    "an email address with a line break": (
        place(*ONE_ITEM, email="a@b.example\nBcc: c@d.ex"),
        "--email",
    ),
    "no address": (place(*ONE_ITEM, address=""), "--address"),
    "an address with a line break": (place(*ONE_ITEM, address="Here\n1"), "--address"),
    "an id with a space": (place(*ONE_ITEM, "--id", "ORD 2"), "order's id"),
    "an amount with three decimals": (("orders", "pay", "ORD-1", "--amount", "49.991"), "--amount"),
    "a negative amount": (("orders", "pay", "ORD-1", "--amount", "-49.99"), "--amount"),
    "a huge amount": (("orders", "pay", "ORD-1", "--amount", "1e400"), "--amount"),
    "an amount that is not a number": (("orders", "pay", "ORD-1", "--amount", "nan"), "--amount"),
    "another amount": (("orders", "pay", "ORD-1", "--amount", "49.98"), "49.99"),
    "an unknown order to pay": (("orders", "pay", "ORD-9", "--amount", "1.00"), "ORD-9"),
    "an unknown service": (("run", "payments"), "payments"),
    "an unknown option": (("orders", "list", "--colour"), "--colour"),
    "an unknown command": (("order",), "order"),
    "an invalid customer": (("loyalty", "balance", "jane"), "EMAIL"),
}


@pytest.mark.parametrize(("arguments", "named"), INVALID_INPUT.values(), ids=INVALID_INPUT)
def test_invalid_input_is_refused_in_one_sentence_and_nothing_is_stored(
    shop_with_order: InstalledShop, arguments: Sequence[str], named: str
) -> None:
    result = shop_with_order(*arguments)

    assert named in error_sentence(result)
    assert result.code == 2
    assert shop_with_order.row_counts() == (1, 1, 1)


INVALID_SETTINGS = {
    "a port that is not a number": ("orders", {"http_port": "eighty"}, "SHOP_HTTP_PORT"),
    "an unknown log level": ("orders", {"log_level": "loud"}, "SHOP_LOG_LEVEL"),
    "a grace period of zero": ("orders", {"grace": 0}, "SHOP_GRACE"),
    "a batch size of zero": ("orders", {"orders_batch_size": 0}, "SHOP_ORDERS_BATCH_SIZE"),
    "an inbox that is kept for less time than the history": (
        "orders",
        {"inbox_keep": 1},
        "SHOP_HISTORY_DAYS",
    ),
    "a broker of another kind": ("orders", {"broker_url": "kafka://x:hunter2@h"}, "amqp://"),
    "a database of another kind": (
        "orders",
        {"database_url": "mysql://x:hunter2@h/{service}"},
        "SHOP_DATABASE_URL",
    ),
    "a database port that is not a number": (
        "orders",
        {"database_url": "postgresql://x:hunter2@h:x/{service}"},
        "SHOP_DATABASE_URL",
    ),
    "one database for all services": (
        "orders",
        {"database_url": "postgresql://x:hunter2@h/shop"},
        "SHOP_DATABASE_URL should contain {service}",
    ),
    "a mail server of another kind": ("email", {"smtp_url": "imap://x:hunter2@h"}, "SHOP_SMTP_URL"),
}


@pytest.mark.parametrize(
    ("name", "settings", "expected"), INVALID_SETTINGS.values(), ids=INVALID_SETTINGS
)
def test_the_error_names_an_invalid_setting_without_its_value(
    shop: InstalledShop, name: str, settings: dict[str, object], expected: str
) -> None:
    result = shop("run", name, **settings)

    sentence = error_sentence(result)
    assert expected in sentence
    assert "hunter2" not in sentence
    assert result.code == 2


@pytest.mark.parametrize("arguments", [("orders", "list"), ("run", "orders"), ("setup",)])
def test_the_error_names_a_home_that_cannot_be_written(
    shop: InstalledShop, arguments: Sequence[str]
) -> None:
    shop.home.write_text("not a folder")

    result = shop(*arguments)

    assert str(shop.home) in error_sentence(result)
    assert result.code == 1


def test_the_home_can_have_any_name(tmp_path: Path) -> None:
    shop = InstalledShop(tmp_path / "50 % of {what}? #1")

    result = shop("orders", "place", *CUSTOMER, *ONE_ITEM)

    assert (result.code, result.err) == (
        0,
        f"shop: made a new shop in {shop.home} (SHOP_HOME)\n",
    )
    assert shop.row_counts() == (1, 1, 1)


def test_the_error_names_a_broker_that_cannot_be_reached(shop_with_order: InstalledShop) -> None:
    result = shop_with_order("setup", broker_url=f"amqp://jane:hunter2@{CLOSED_PORT}")

    (line,) = result.err.splitlines()
    assert line.startswith(f"shop: the broker at {CLOSED_PORT} cannot be reached")
    assert "hunter2" not in result.out + result.err
    assert result.code == 1


@pytest.mark.parametrize("arguments", [("orders", "list"), ("setup",), place(*ONE_ITEM)])
def test_the_error_names_a_database_that_cannot_be_reached(
    shop: InstalledShop, arguments: Sequence[str]
) -> None:
    result = shop(*arguments, database_url=f"postgresql://jane:hunter2@{CLOSED_PORT}/{{service}}")

    sentence = error_sentence(result)
    assert "127.0.0.1/orders" in sentence
    assert "hunter2" not in sentence
    assert result.code == 1


def test_the_error_names_a_port_in_use(shop: InstalledShop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        result = shop("run", "orders", http_port=port)

    assert f"SHOP_HTTP_PORT: 127.0.0.1:{port} cannot be used" in error_sentence(result)
    assert result.code == 2


def test_the_doctor_finds_what_is_missing_until_setup_has_run(shop: InstalledShop) -> None:
    before = shop("doctor", "--json")
    first, second = shop("setup"), shop("setup")
    after = shop("doctor", "--json")

    assert (before.code, first.code, second.code, after.code) == (1, 0, 0, 0)
    assert first.out.count(": migrated") == len(registry.names())
    assert "migrated" not in second.out
    keys = {"what", "ok", "says", "state", "behind_seconds"}
    assert [each.keys() for each in after.json] == [keys] * len(after.json)
    missing = {each["what"] for each in before.json if not each["ok"]}
    databases = {f"database of {name}" for name in registry.names()}
    assert databases <= missing
    assert all(each["ok"] for each in after.json)
    assert {each["what"] for each in after.json} >= databases | {"broker", "topology"}
    assert before.err + second.err + after.err == ""
    assert first.err == f"shop: made a new shop in {shop.home} (SHOP_HOME)\n"


def test_the_doctor_shows_no_password_of_what_cannot_be_reached(
    shop_with_order: InstalledShop,
) -> None:
    result = shop_with_order(
        "doctor",
        "--json",
        broker_url=f"amqp://jane:hunter2@{CLOSED_PORT}",
        database_url=f"postgresql://jane:hunter2@{CLOSED_PORT}/{{service}}",
    )

    findings = {each["what"]: each for each in result.json}
    assert not findings["broker"]["ok"]
    assert "cannot be reached" in findings["broker"]["says"]
    assert "the connection is refused" in findings["database of orders"]["says"]
    assert "hunter2" not in result.out
    assert (result.code, result.err) == (1, "")


def test_six_processes_ship_an_order_from_the_command_line(shop: InstalledShop) -> None:
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(shop.running("run", name)) for name in registry.names()
        }
        first = shop.json_of(
            "orders", "place", *CUSTOMER, "--item", "product-1=2", "--id", "ORD-123"
        )
        for name, process in processes.items():
            eventually(partial(process.has_started, name))
        shop.json_of("orders", "place", *CUSTOMER, "--item", "product-3=8", "--id", "ORD-125")
        shop.json_of("orders", "place", *CUSTOMER, "--item", "product-2=3", "--id", "ORD-126")
        paid = shop.json_of("orders", "pay", "ORD-123", "--amount", "99.98", "--method", "card")
        cancelled = shop.json_of("orders", "cancel", "ORD-126", "--reason", "too late")
        for name in ("orders", "email", "analytics"):
            eventually(partial(process.has_handled, name, "order.shipped.v1", "ORD-123"))
        for name in ("inventory", "email", "shipping", "loyalty", "analytics"):
            gone = ("order.cancelled.v1", "ORD-125", "ORD-126")
            eventually(partial(process.has_handled, name, *gone))
        codes = {name: each.exit_code_after(signal.SIGTERM) for name, each in processes.items()}

    assert codes == dict.fromkeys(registry.names(), 0)
    # OrderShipped can reach email before OrderPlaced; it is then retried.
    assert {line.get("error", "NotKnownYet") for line in process.lines()} == {"NotKnownYet"}
    _check_orders(shop, first=first, paid=paid, cancelled=cancelled)
    _check_other_services(shop)


def _check_orders(shop: InstalledShop, **orders: dict[str, Any]) -> None:
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
    listed = shop.json_of("orders", "list")
    assert [each["order_id"] for each in listed] == ["ORD-126", "ORD-125", "ORD-123"]
    assert [each["status"] for each in listed] == ["cancelled", "cancelled", "shipped"]
    assert shop.json_of("orders", "list", "--status", "cancelled", "--limit", "1") == listed[:1]
    shipped = shop.json_of("orders", "show", "ORD-123")
    assert shipped == listed[2]
    for name in ("placed_at", "reserved_at", "paid_at", "shipped_at"):
        assert datetime.fromisoformat(shipped[name]).utcoffset() is not None
    assert shipped["cancelled_at"] is None


def _check_other_services(shop: InstalledShop) -> None:
    assert shop.json_of("inventory", "stock") == [
        {"sku": "product-1", "available": 9_998, "reserved": 2},
        {"sku": "product-2", "available": 5_000, "reserved": 0},
        {"sku": "product-3", "available": 5, "reserved": 0},
    ]
    restocked = shop.json_of("inventory", "restock", "product-3", "7")
    assert restocked == {"sku": "product-3", "available": 12, "reserved": 0}
    shipments = {each["order_id"]: each for each in shop.json_of("shipping", "list")}
    assert {order: each["status"] for order, each in shipments.items()} == {
        "ORD-123": "shipped",
        "ORD-125": "void",
        "ORD-126": "void",
    }
    assert shipments["ORD-123"]["carrier"]
    assert shipments["ORD-123"]["tracking_number"]
    assert shop.json_of("loyalty", "balance", "jane@example.com") == {
        "customer_email": "jane@example.com",
        "points": 99,
    }
    mails = shop.json_of("email", "sent")
    assert [each.keys() for each in mails] == [{"order_id", "kind", "to", "subject", "sent_at"}] * 6
    assert {each["to"] for each in mails} == {"jane@example.com"}
    report = shop.json_of("analytics", "report")
    assert (report["orders_placed"], report["orders_cancelled"]) == (3, 2)
    assert report["revenue"] == "99.98"
    assert report["units"] == {"product-1": 2, "product-2": 3, "product-3": 8}
    assert report["events"]["order.placed.v1"] == 3


def test_all_services_in_one_process_stop_on_ctrl_c(shop: InstalledShop) -> None:
    with shop.running("up") as process:
        for name in registry.names():
            eventually(partial(process.has_started, name))
        shop.json_of("orders", "place", *CUSTOMER, *ONE_ITEM, "--id", "ORD-1")
        eventually(partial(process.has_handled, "orders", "stock.reserved.v1", "ORD-1"))

        assert process.exit_code_after(signal.SIGINT) == 0

    assert process.lines()[-1]["event"] == "stopped"
    assert shop.json_of("orders", "show", "ORD-1")["status"] == "reserved"


def test_all_checks_of_the_demo_pass(shop: InstalledShop) -> None:
    result = shop("demo")

    assert (result.code, result.err) == (0, "")
    assert "All checks passed" in result.out
    assert not shop.home.exists(), "its data is temporary"


def test_help_imports_no_database_and_no_broker() -> None:
    program = "import sys, shop.cli; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout

    assert not {b"sqlalchemy", b"psycopg", b"pydantic", b"pika"} & set(loaded.split())


def test_the_help_lists_all_commands(shop: InstalledShop) -> None:
    result = shop("--help")

    assert result.code == 0
    for name in ("demo", "up", "run", "setup", "doctor", *registry.names()):
        assert name in result.out
