import json
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.email.commands import app
from services.email.mailer import Mailer
from services.email.service import email
from shared.events import OrderPlaced
from shared.runtime.settings import Settings
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


def confirm(home: Path, *order_ids: str) -> None:
    stage = Stage(home, [email], gateway={"email": Mailer.from_settings(Settings(home=home))})
    for order_id in order_ids:
        stage.publish(
            OrderPlaced(
                order_id=order_id,
                customer_email="jane@example.com",
                items={"product-1": 1},
                shipping_address="123 Main St",
                total_amount=Decimal("49.99"),
                currency="EUR",
            )
        )
    stage.play()
    stage.close()


def test_sent_emails_are_listed_as_json(home: Path) -> None:
    confirm(home, "ORD-1", "ORD-2")

    listed = json.loads(run("sent", "--json").stdout)

    assert [each["order_id"] for each in listed] == ["ORD-2", "ORD-1"]
    assert list(listed[0]) == ["order_id", "kind", "to", "subject", "sent_at"]
    assert listed[0]["sent_at"].endswith("Z")
    assert listed[0]["to"] == "jane@example.com"


def test_a_listing_can_be_limited_to_one_order_or_to_the_latest(home: Path) -> None:
    confirm(home, "ORD-1", "ORD-2", "ORD-3")

    one = json.loads(run("sent", "--order", "ORD-2", "--json").stdout)
    last = json.loads(run("sent", "--limit", "2", "--json").stdout)

    assert [each["order_id"] for each in one] == ["ORD-2"]
    assert [each["order_id"] for each in last] == ["ORD-3", "ORD-2"]


def test_without_json_the_listing_is_a_table(home: Path) -> None:
    confirm(home, "ORD-1")

    assert "Your order ORD-1 is confirmed" in run("sent").stdout


def test_an_empty_listing_says_so(home: Path) -> None:
    assert home.exists()
    assert run("sent").stdout == "No email has been sent yet.\n"
    assert json.loads(run("sent", "--json").stdout) == []
