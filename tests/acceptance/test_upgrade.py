"""A shop whose files release 1.0.0 made is upgraded by set-up, and all of it can be read.

`tests/data/shop_1_0` holds the SQLite files as SQL: five orders, handled by all services, and one
malformed message, dead in five of them. One order's id begins with a hyphen, and two orders are of
a customer whose mail address has capitals in its domain.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from shop import registry
from tests.support.commanding import Shop

DUMPS = Path(__file__).parents[1] / "data" / "shop_1_0"


@pytest.fixture
def shop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shop:
    for dump in DUMPS.glob("*.sql"):
        with closing(sqlite3.connect(tmp_path / f"{dump.stem}.db")) as connection:
            connection.executescript(dump.read_text())
            connection.execute("PRAGMA journal_mode = WAL")
    monkeypatch.setenv("SHOP_HOME", str(tmp_path))
    shop = Shop(monkeypatch, capsys)
    assert shop("setup").code == 0
    return shop


def test_the_dumps_are_of_all_services() -> None:
    assert {each.stem for each in DUMPS.glob("*.sql")} == {"broker", *registry.names()}


def test_orders_are_listed_with_their_states(shop: Shop) -> None:
    listed = shop("orders", "list", "--json").json

    assert {each["order_id"]: each["status"] for each in listed} == {
        "ORD-1": "shipped",
        "ORD-2": "cancelled",
        "ORD-3": "reserved",
        "ORD-4": "cancelled",
        "-ORD-5": "reserved",
    }


def test_an_order_whose_id_begins_with_a_hyphen_is_paid(shop: Shop) -> None:
    paid = shop("orders", "pay", "--amount", "0.01", "--method", "card", "--", "-ORD-5")

    assert paid.code == 0, paid.err
    assert shop("orders", "show", "--json", "--", "-ORD-5").json["status"] == "paid"


def test_the_history_is_read_and_every_event_has_its_timeline(shop: Shop) -> None:
    history = [each for each in shop("events", "history", "--json").out.splitlines() if each]

    assert len(history) == 14
    for order_id in ("ORD-1", "ORD-4", "-ORD-5"):
        assert shop("events", "timeline", "--", order_id).code == 0


def test_points_are_found_by_the_address_in_any_case(shop: Shop) -> None:
    for address in ("Ann@Example.COM", "Ann@example.com"):
        assert shop("loyalty", "balance", address, "--json").json["points"] == 198


@pytest.mark.parametrize("service", ["analytics", "loyalty"])
def test_a_rebuild_from_the_old_history_finds_the_same_state(shop: Shop, service: str) -> None:
    rebuilt = shop("events", "rebuild", service, "--yes")

    assert rebuilt.code == 0, rebuilt.err
    assert "as before" in rebuilt.out


def test_the_dead_letters_are_listed_and_discarded(shop: Shop) -> None:
    groups = shop("dead", "list", "--json").json

    assert {(each["service"], each["error"], each["count"]) for each in groups} == {
        (service, "MalformedEvent", 1)
        for service in ("analytics", "email", "inventory", "loyalty", "shipping")
    }
    assert shop("dead", "discard", "email", "broken", "--reason", "not an event").code == 0
    assert len(shop("dead", "list", "--json").json) == 4
