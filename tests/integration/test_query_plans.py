"""No statement that runs by itself, or for a request, reads a whole table that grows.

The services and every command run once, while their statements are recorded. Each is then planned
by the database. `shop analytics report` and `shop events rebuild` are left out: a report of
everything reads everything, and a rebuild replaces everything.
"""

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from uuid import uuid4

import pytest
from prometheus_client import generate_latest

from services.analytics.store import AnalyticsStore
from services.email.store import EmailStore
from services.inventory.store import InventoryStore
from services.loyalty.store import LoyaltyStore
from services.orders.order import STATUSES
from services.orders.store import OrdersStore
from services.shipping.store import ShippingStore
from shared.errors import DependencyUnavailable
from shared.messaging.codec import message_of
from shared.messaging.connect import broker_at
from shared.messaging.ports.publisher import Message
from shared.runtime.logs import log_to
from shared.runtime.pauses import PauseRecord
from shared.runtime.process import ServiceGroup
from shared.runtime.settings import settings_for
from shared.storage import (
    checkpoints,
    discards,
    event_audit,
    failing_events,
    failures,
    inbox,
    outbox,
    pruning,
    service_state,
)
from shared.storage.database import Database
from shared.storage.tables import outbox as outbox_table
from shop import registry
from tests.support import statements
from tests.support.commanding import CommandResult, Shop
from tests.support.embedded_shop import set_up_all
from tests.support.order_events import placed, shipped
from tests.support.statements import Statements
from tests.support.waiting import eventually

ROWS = 20_000

FAILING = "01a21ec0-0000-7000-8000-0000000000ab"
"""The id of an event that fails."""

PLACES = (
    outbox,
    inbox,
    failures,
    discards,
    checkpoints,
    event_audit,
    failing_events,
    pruning,
    service_state,
    OrdersStore,
    InventoryStore,
    EmailStore,
    ShippingStore,
    LoyaltyStore,
    AnalyticsStore,
)
"""Where statements are."""


@pytest.fixture
def shop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shop:
    monkeypatch.setenv("SHOP_HOME", str(tmp_path))
    monkeypatch.setenv("SHOP_INBOX_KEEP", "30")
    for name in ("ORDERS", "LOYALTY", "EMAIL"):
        monkeypatch.setenv(f"SHOP_{name}_RETRY_DELAY", "0.01")
        monkeypatch.setenv(f"SHOP_{name}_RETRY_MAX_DELAY", "0.02")
    monkeypatch.setenv("SHOP_EMAIL_MAX_RETRIES", "2")
    monkeypatch.setenv("SHOP_LOYALTY_FROM_HISTORY", "true")
    return Shop(monkeypatch, capsys)


@pytest.fixture
def server(
    postgres_server: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, list[str]]]:
    """The URL without a database, and a new database for each service."""
    base, prefix = postgres_server.rpartition("/")[0], f"plans_{uuid4().hex[:8]}"
    names = [f"{prefix}_{each.name}" for each in registry.all_services()]
    statements.databases(postgres_server, names)
    monkeypatch.setenv("SHOP_ALLOW_PLAINTEXT", "true")
    monkeypatch.setenv("SHOP_DATABASE_URL", f"{base}/{prefix}_{{service}}")
    yield base, names
    statements.drop(postgres_server, names)


class Called:
    """Which functions have been called, in any thread, within `watching`."""

    def __init__(self) -> None:
        self._codes: set[CodeType] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _note(self, frame: FrameType, kind: str, _argument: object) -> None:
        if kind == "call":
            self._codes.add(frame.f_code)

    def missing(self) -> list[str]:
        """The public functions of `PLACES` that have not been called.

        Others depend on the kind of database, or run only when a statement is compiled.
        """
        return [
            f"{place.__name__}.{name}"
            for place in PLACES
            for name, function in vars(place).items()
            if isinstance(function, FunctionType)
            and function.__module__ == getattr(place, "__module__", place.__name__)
            and function.__code__ not in self._codes
            and not name.startswith("_")
        ]


def run_everything(shop: Shop) -> None:
    """Run all services, and every command that reads or writes a database."""
    set_up_all()
    with closing(broker_at(settings_for().broker_url_of("orders"))) as broker:
        broker.publisher().publish([message_of(placed("ORD-0"), source="orders")])
    group = ServiceGroup(registry.all_services(), log_to(io.StringIO(), settings_for()))
    group.start()
    try:
        _orders(shop)
        _trouble(shop)
        _listings(shop)
        generate_latest(group.metrics.registry)
        assert group.readiness() == []
    finally:
        assert group.stop(20)
    _history(shop)


def _done(shop: Shop, *arguments: str, code: int = 0) -> CommandResult:
    result = shop(*arguments)
    assert result.code == code, result
    return result


def _orders(shop: Shop) -> None:
    place = ["--email", "jane@example.com", "--address", "12 Main St"]
    for order, quantity in (("ORD-1", 1), ("ORD-2", 1), ("ORD-3", 10_000)):
        item = f"product-1={quantity}"
        _done(shop, "orders", "place", "--id", order, *place, "--item", item)
    _done(shop, "orders", "pay", "ORD-1", "--amount", "49.99")
    _done(shop, "orders", "cancel", "ORD-2", "--reason", "a test")
    eventually(
        within=60, condition=lambda: '"shipped"' in shop("orders", "show", "ORD-1", "--json").out
    )
    eventually(
        within=60, condition=lambda: '"cancelled"' in shop("orders", "show", "ORD-3", "--json").out
    )
    _done(shop, "inventory", "restock", "product-1", "5")


def _trouble(shop: Shop) -> None:
    """Messages that fail or cannot be read, and an event that the broker rejects."""
    letter = Message(
        event_id="note-1",
        topic="order.placed",
        type="order.placed.v1",
        body=b"{",
        source="unknown",
        only_to="loyalty",
    )
    copies = [letter, letter, message_of(shipped("ORD-UNKNOWN"), source="shipping")]
    with closing(broker_at(settings_for().broker_url_of("orders"))) as broker:
        assert broker.publisher().publish(copies) == [None, None, None]
    eventually(
        within=60, condition=lambda: shop("dead", "list", "--json").out.count("CustomerUnknown") > 0
    )
    eventually(
        within=60,
        condition=lambda: shop("dead", "list", "loyalty", "--json").out.count("MalformedEvent") > 0,
    )
    with_rejected = Database(settings_for().database_url_of("orders"))
    with with_rejected.begin() as connection:
        connection.execute(
            outbox_table.update().where(outbox_table.c.number == 1).values(rejected="too large")
        )
    _fail_and_pause(shop)
    _done(shop, "doctor", code=1)
    _done(shop, "outbox", "resend", "orders")
    with_rejected.close()
    _done(shop, "dead", "retry", "email", "--all")
    eventually(
        within=60,
        condition=lambda: shop("dead", "list", "email", "--json").out.count("CustomerUnknown") > 0,
    )
    letter_id = _done(shop, "dead", "list", "email", "--json").json[0]["example"]
    _done(shop, "dead", "show", "email", letter_id)
    _done(shop, "dead", "discard", "email", letter_id, "--reason", "a test")
    _done(shop, "dead", "list", "--discarded")
    _done(shop, "dead", "list", "--each")
    _done(shop, "dead", "show", "email", letter_id)


def _fail_and_pause(shop: Shop) -> None:
    """An event that failed and will be delivered again, and a service that waits."""
    failure = failures.Failure(
        event_id=FAILING,
        event_type="order.placed.v1",
        subject="ORD-1",
        attempt=1,
        replays=0,
        outcome=failures.RETRIED,
        error="KeyError",
        message=failures.WITHHELD,
        traceback="",
    )
    with closing(Database(settings_for().database_url_of("email"))) as database:
        with database.begin() as connection:
            failures.record(connection, failure)
        pauses = PauseRecord(database, log_to(io.StringIO(), settings_for()))
        pauses.note(DependencyUnavailable("a test"))
        _done(shop, "doctor", code=1)
        pauses.end()
    assert [each["id"] for each in _done(shop, "failures", "email", "--json").json] == [FAILING]
    _done(shop, "failures", "--event", FAILING[-8:])


def _listings(shop: Shop) -> None:
    for status in ("", *STATUSES):
        _done(shop, "orders", "list", *(["--status", status] if status else []))
    for status in ("", "open", "shipped", "void"):
        _done(shop, "shipping", "list", *(["--status", status] if status else []))
    for command in (
        "orders products",
        "inventory stock",
        "loyalty balance jane@example.com",
        "loyalty ledger jane@example.com",
        "email sent",
        "email sent --order ORD-1",
        "events timeline ORD-1",
    ):
        _done(shop, *command.split())


def _history(shop: Shop) -> None:
    _done(shop, "events", "history", "--since", "2d")
    _done(shop, "events", "replay", "--to", "loyalty", "--since", "2d", "--yes")


def test_no_statement_scans_a_table_that_grows_on_sqlite(shop: Shop) -> None:
    set_up_all()  # a migration may read whole tables, once
    recorded, called = Statements(), Called()

    with recorded.recording(), called.watching():
        run_everything(shop)

    scans = recorded.sqlite_scans()
    assert not scans, "\n".join(scans)
    assert called.missing() == []


def test_no_statement_scans_a_table_that_grows_on_postgresql(
    server: tuple[str, list[str]], shop: Shop
) -> None:
    set_up_all()  # a migration may read whole tables, once
    recorded, called = Statements(), Called()
    base, names = server

    with recorded.recording(), called.watching():
        run_everything(shop)
    for name in names:
        statements.fill(base, name, ROWS)

    scans = recorded.postgresql_scans(base)
    assert not scans, "\n".join(scans)
    assert called.missing() == []
