import json
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.analytics.commands import app
from services.analytics.service import analytics
from shared.events import OrderPlaced, OrderShipped, PaymentReceived
from shared.testing import Stage


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOP_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
    (tmp_path / "any.db").touch()  # so the shop is not a new one
    return tmp_path


def run(*args: str) -> Result:
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    return result


def ship_one_order(home: Path) -> None:
    stage = Stage(home, [analytics])
    stage.publish(
        OrderPlaced(
            order_id="ORD-1",
            customer_email="jane@example.com",
            items={"product-1": 2},
            shipping_address="123 Main St",
            total_amount=Decimal("99.98"),
            currency="EUR",
        ),
        PaymentReceived(order_id="ORD-1", amount=Decimal("99.98"), payment_method="card"),
        OrderShipped(order_id="ORD-1", tracking_number="1", carrier="Swift"),
    )
    stage.play()
    stage.close()


def test_the_report_is_printed_as_json(home: Path) -> None:
    ship_one_order(home)

    report = json.loads(run("report", "--json").stdout)

    days, shipping_time = report.pop("days"), report.pop("placed_to_shipped")
    assert report == {
        "orders_placed": 1,
        "orders_cancelled": 0,
        "revenue": "99.98",
        "units": {"product-1": 2},
        "events": {"order.placed.v1": 1, "order.shipped.v1": 1, "payment.received.v1": 1},
    }
    assert days[0]["revenue"] == "99.98"
    assert len(days[0]["day"]) == len("2026-01-01")
    assert shipping_time["orders"] == 1
    assert isinstance(shipping_time["average_seconds"], float)


def test_without_json_the_report_is_tables(home: Path) -> None:
    ship_one_order(home)

    printed = run("report").stdout

    assert "99.98" in printed
    assert "product-1" in printed
    assert "order.shipped.v1" in printed


def test_an_empty_report_says_so(home: Path) -> None:
    assert home.exists()
    assert run("report").stdout == "No events yet.\n"
    assert json.loads(run("report", "--json").stdout)["revenue"] == "0.00"
