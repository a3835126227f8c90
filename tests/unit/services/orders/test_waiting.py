"""`shop orders show --wait`."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from services.orders.order import Order, OrderConflict
from services.orders.waiting import wait_for
from shared.errors import OperationFailed
from tests.support.commanding import Shop

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def order(**times: Any) -> Order:
    return Order(
        order_id="ORD-1",
        customer_email="jane@example.com",
        shipping_address="12 Main St",
        items={"product-1": 1},
        total_amount=Decimal("49.99"),
        currency="EUR",
        correlation_id=UUID(int=1),
        placed_at=NOW,
        **times,
    )


def in_turn(*orders: Order) -> Callable[[], Order]:
    """Return the orders one by one, and then the last again and again."""
    left = list(orders)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_it_returns_the_order_as_soon_as_it_has_the_status() -> None:
    shipped = order(paid_at=NOW, shipped_at=NOW + timedelta(seconds=1))

    found = wait_for("shipped", in_turn(order(), order(paid_at=NOW), shipped), timeout=60)

    assert found is shipped


def test_a_status_that_was_passed_is_reached() -> None:
    found = wait_for("paid", in_turn(order(paid_at=NOW, shipped_at=NOW)), timeout=60)

    assert found.status == "shipped"


def test_it_does_not_wait_for_what_cannot_happen_any_more() -> None:
    with pytest.raises(OrderConflict, match="ORD-1 is cancelled, so it will not be shipped"):
        wait_for("shipped", in_turn(order(cancelled_at=NOW)), timeout=3600)
    with pytest.raises(OrderConflict, match="ORD-1 is shipped, so it will not be cancelled"):
        wait_for("cancelled", in_turn(order(shipped_at=NOW)), timeout=3600)


def test_after_the_timeout_it_says_what_the_status_is() -> None:
    with pytest.raises(OperationFailed, match=r"ORD-1 is placed, and not paid after 0 s: see shop"):
        wait_for("paid", in_turn(order()), timeout=0)


def test_the_command_waits_and_reports_as_json(shop: Shop) -> None:
    place = ("--email", "jane@example.com", "--address", "12 Main St", "--item", "product-1=1")
    shop("orders", "place", *place, "--id", "ORD-1")
    late = shop("orders", "show", "ORD-1", "--wait", "paid", "--timeout", "0", "--json")
    shop("orders", "pay", "ORD-1", "--amount", "49.99")

    paid = shop("orders", "show", "ORD-1", "--wait", "paid", "--json")
    unknown = shop("orders", "show", "ORD-2", "--wait", "paid", "--timeout", "60")

    assert (late.code, late.out) == (1, "")
    assert json.loads(late.err)["error"]["code"] == "OperationFailed"
    assert (paid.code, paid.json["status"]) == (0, "paid")
    assert unknown.code == 2
