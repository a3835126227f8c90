from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.shipping.carrier import hand_over
from services.shipping.service import shipping
from shared.testing import Stage
from tests.support.arrivals import play
from tests.support.commanding import Shop
from tests.support.order_events import ADDRESS, cancelled, paid, placed, reserved

LONG_AGO = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def shipments(tmp_path: Path) -> None:
    """One of each status, ORD-1 the oldest."""
    stage = Stage(tmp_path, [shipping])
    orders = [
        placed(f"ORD-{number}", occurred_at=LONG_AGO + timedelta(days=number))
        for number in (1, 2, 3)
    ]
    play(stage, [*orders, paid("ORD-1"), reserved("ORD-1"), cancelled("ORD-2")], as_batch=True)
    stage.close()


def test_shipments_are_listed_newest_first(shop: Shop) -> None:
    listed = shop("shipping", "list", "--json").json

    assert [(each["order_id"], each["status"]) for each in listed] == [
        ("ORD-3", "open"),
        ("ORD-2", "void"),
        ("ORD-1", "shipped"),
    ]
    assert (listed[2]["carrier"], listed[2]["tracking_number"]) == hand_over("ORD-1")
    assert listed[2]["opened_at"] == "2026-01-03T03:04:05Z"
    assert listed[0]["tracking_number"] is None


@pytest.mark.parametrize(
    ("status", "order_id"), [("open", "ORD-3"), ("void", "ORD-2"), ("shipped", "ORD-1")]
)
def test_shipments_can_be_filtered_by_status(shop: Shop, status: str, order_id: str) -> None:
    listed = shop("shipping", "list", "--status", status, "--json").json

    assert [each["order_id"] for each in listed] == [order_id]


def test_the_number_of_shipments_can_be_limited(shop: Shop) -> None:
    listed = shop("shipping", "list", "--limit", "2", "--json").json

    assert [each["order_id"] for each in listed] == ["ORD-3", "ORD-2"]


def test_a_listing_shows_no_address(shop: Shop) -> None:
    assert ADDRESS not in shop("shipping", "list", "--json").out
    assert ADDRESS not in shop("shipping", "list").out


@pytest.mark.parametrize(
    "options", [("--status", "lost"), ("--limit", "0"), ("--limit", "-1"), ("--limit", "all")]
)
def test_an_invalid_option_is_refused(shop: Shop, options: tuple[str, str]) -> None:
    result = shop("shipping", "list", *options)

    assert result.code == 2
    assert result.err.startswith(f"shop: Invalid value for '{options[0]}'")
