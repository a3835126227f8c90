import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.loyalty.service import loyalty
from shared.testing import Stage
from tests.support.arrivals import play
from tests.support.commanding import Shop
from tests.support.order_events import CUSTOMER, cancelled, placed

LONG_AGO = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def awards(tmp_path: Path) -> None:
    stage = Stage(tmp_path, [loyalty])
    orders = [placed("ORD-1", occurred_at=LONG_AGO), placed("ORD-2")]
    play(stage, [*orders, cancelled("ORD-2")], as_batch=True)
    stage.close()


def test_the_balance_excludes_points_that_were_taken_back(shop: Shop) -> None:
    result = shop("loyalty", "balance", CUSTOMER, "--json")

    assert result.json == {"customer_email": CUSTOMER, "points": 99}


def test_a_customer_who_never_ordered_has_no_points(shop: Shop) -> None:
    result = shop("loyalty", "balance", "joe@example.com", "--json")

    assert result.json == {"customer_email": "joe@example.com", "points": 0}
    assert shop("loyalty", "ledger", "joe@example.com").out == "No points yet.\n"


def test_the_ledger_lists_awards_and_takebacks(shop: Shop) -> None:
    entries = shop("loyalty", "ledger", CUSTOMER, "--json").json

    assert entries[-1] == {
        "order_id": "ORD-1",
        "kind": "award",
        "points": 99,
        "customer_email": CUSTOMER,
        "occurred_at": "2026-01-02T03:04:05Z",
    }
    assert [(each["kind"], each["points"]) for each in entries[:-1]] == [
        ("takeback", -99),
        ("award", 99),
    ]


@pytest.mark.parametrize("command", ["balance", "ledger"])
@pytest.mark.parametrize("email", ["", "jane", "jane@", "Jane <jane@example.com>", "a@b.de\nX: y"])
def test_an_invalid_email_address_is_refused(shop: Shop, command: str, email: str) -> None:
    result = shop("loyalty", command, email, "--json")

    assert result.code == 2
    assert result.out == ""
    assert json.loads(result.err)["error"]["message"] == (
        "EMAIL should be one plain email address, such as jane@example.com"
    )
