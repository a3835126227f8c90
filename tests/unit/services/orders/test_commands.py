import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import typer.main
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from services.orders.commands import app
from services.orders.option_parsing import parse_items
from services.orders.order import OrderConflict
from services.orders.service import orders
from shared.errors import CommitOutcomeUnknown, InvalidInput, OperationFailed, ShopError
from shared.storage.database import Database
from tests.unit.services.orders import samples

PLACE = ("place", "--email", "customer@example.com", "--address", "123 Main St, Springfield")
EXAMPLE = (*PLACE, "--id", "ORD-123", "--item", "product-1=2", "--item", "product-2=1")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOP_HOME", str(tmp_path / "var"))
    monkeypatch.delenv("SHOP_DATABASE_URL", raising=False)
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "any.db").touch()  # so the shop is not a new one
    return tmp_path / "var"


def shop(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def json_of(*arguments: str) -> Any:
    result = shop(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def error_of(*arguments: str) -> ShopError:
    result = shop(*arguments)
    assert isinstance(result.exception, ShopError), result.output
    assert result.stdout == ""
    assert "\n" not in str(result.exception)
    return result.exception


def test_a_placed_order_is_printed_as_json() -> None:
    order = json_of(*EXAMPLE)

    assert (
        order.items()
        >= {
            "order_id": "ORD-123",
            "status": "placed",
            "items": {"product-1": 2, "product-2": 1},
            "total_amount": "99.99",
            "currency": "EUR",
            "paid_at": None,
        }.items()
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", order["placed_at"])


def test_without_json_the_order_and_the_next_commands_are_printed() -> None:
    output = shop(*EXAMPLE).stdout

    assert "ORD-123: 2 × product-1, 1 × product-2, 99.99 EUR, placed." in output
    assert "shop orders pay ORD-123 --amount 99.99" in output
    assert "shop orders show ORD-123" in output


def test_an_order_without_an_id_gets_a_random_one() -> None:
    first, second = (json_of(*PLACE, "--item", "product-1=1") for _ in range(2))

    assert first["order_id"] != second["order_id"]


def test_placing_the_same_order_again_returns_it() -> None:
    first = json_of(*EXAMPLE)

    assert json_of(*EXAMPLE) == first
    assert "ORD-123 already exists: " in shop(*EXAMPLE).stdout


def test_placing_other_content_with_the_same_id_is_a_conflict() -> None:
    json_of(*EXAMPLE)

    assert isinstance(error_of(*EXAMPLE, "--item", "product-3=1"), OrderConflict)


@pytest.mark.parametrize(
    "items",
    [
        pytest.param([item], id=item or "empty")
        for item in (
            "product-1=0",
            "product-1=-1",
            "product-1=10001",
            "product-1=x",
            "product-1=1.5",
            "product-1=１",
            "product-1=",
            "product-1",
            "=1",
            "=",
            "",
            "a b=1",
            "product-1=1=1",
            "product-1=1\n",
        )
    ]
    + [
        pytest.param(["product-1=1", "product-1=1"], id="twice"),
        pytest.param([f"p-{number}=1" for number in range(101)], id="101 lines"),
        pytest.param(["product-1=1", "product-9=1"], id="not sold"),
    ],
)
def test_invalid_items_are_refused_and_nothing_is_stored(items: list[str]) -> None:
    options = [word for item in items for word in ("--item", item)]

    assert isinstance(error_of(*PLACE, *options), InvalidInput)

    assert json_of("list") == []


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--email", "customer", "--email should be one plain mail address"),
        ("--email", "a@example.com\nBcc: b@example.com", "--email should be one plain mail"),
        ("--email", "", "--email should be"),
        ("--email", "A <a@example.com>", "--email should be"),
        ("--address", "", "--address: should be printable"),
        ("--address", "  ", "--address: should be printable"),
        ("--address", "a\nb", "--address: should be printable"),
        ("--address", "x" * 501, "--address should be 1 to 500"),
        ("--id", "ORD 1", "the order's id should be 1 to 64"),
        ("--id", "", "the order's id should be 1 to 64"),
    ],
)
def test_the_error_names_the_invalid_option_in_one_sentence(
    option: str, value: str, sentence: str
) -> None:
    error = error_of(*EXAMPLE, option, value)

    assert isinstance(error, InvalidInput)
    assert str(error).startswith(sentence)
    assert not value.strip() or value not in str(error)
    assert json_of("list") == []


def test_a_paid_order_is_shown_as_paid() -> None:
    json_of(*EXAMPLE)

    paid = json_of("pay", "ORD-123", "--amount", "99.99", "--method", "voucher")

    assert (paid["status"], paid["payment_method"]) == ("paid", "voucher")
    assert json_of("show", "ORD-123") == paid
    assert "paid at" in shop("show", "ORD-123").stdout


def test_paying_and_cancelling_print_a_sentence() -> None:
    json_of(*EXAMPLE)
    json_of(*PLACE, "--item", "product-3=1", "--id", "ORD-124")

    assert shop("pay", "ORD-123", "--amount", "99.99").stdout == (
        "ORD-123 is paid: 99.99 EUR by card.\n"
    )
    assert shop("cancel", "ORD-124", "--reason", "x").stdout == "ORD-124 is cancelled.\n"


@pytest.mark.parametrize(
    "amount",
    [
        *(
            "99.999",
            "-99.99",
            "NaN",
            "inf",
            "x",
            "",
            "1e20",
            "1E+99999",
            "99.98",
            "9999e-2",
            "99.990",
        ),
        *(
            "+99.99",
            " 99.99",
            "99.99\n",
            "9_9.99",
            "٩٩.٩٩",
            "９９.９９",
            "99,99",
            "-0",
            "-0.00",
            "99",
        ),
    ],
)
def test_an_invalid_amount_is_refused(amount: str) -> None:
    json_of(*EXAMPLE)

    error = error_of("pay", "ORD-123", "--amount", amount)

    assert isinstance(error, InvalidInput)
    assert json_of("show", "ORD-123")["status"] == "placed"


@pytest.mark.parametrize(
    "arguments",
    [
        ("pay", "ORD-9", "--amount", "1.00"),
        ("cancel", "ORD-9", "--reason", "x"),
        ("show", "ORD-9"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_an_unknown_order_is_invalid_input(arguments: tuple[str, ...]) -> None:
    error = error_of(*arguments)

    assert isinstance(error, InvalidInput)
    assert "there is no order ORD-9" in str(error)


@pytest.mark.parametrize(
    "arguments",
    [
        ("pay", "a b", "--amount", "1.00"),
        ("pay", "ORD-123", "--amount", "99.99", "--method", "caf\u00e9;"),
        ("cancel", "ORD-123", "--reason", " "),
        ("cancel", "ORD-123", "--reason", "x" * 201),
        ("show", "customer@example.com"),
    ],
    ids=" ".join,
)
def test_other_invalid_input_is_refused(arguments: tuple[str, ...]) -> None:
    assert isinstance(error_of(*arguments), InvalidInput)


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--status", "lost"),
        ("list", "--limit", "0"),
        ("list", "--limit", "10001"),
        ("simulate", "--count", "0"),
        ("simulate", "--rate", "nan"),
        ("simulate", "--rate", "-1"),
    ],
    ids=" ".join,
)
def test_an_option_outside_its_range_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    assert shop(*arguments).exit_code == 2


def test_paying_or_cancelling_a_paid_order_fails() -> None:
    json_of(*EXAMPLE)
    json_of("pay", "ORD-123", "--amount", "99.99")

    for arguments in (
        ("pay", "ORD-123", "--amount", "99.99"),
        ("cancel", "ORD-123", "--reason", "x"),
    ):
        assert isinstance(error_of(*arguments), OperationFailed)


def test_orders_are_listed_newest_first_and_can_be_filtered_by_status() -> None:
    for order_id in ("ORD-1", "ORD-2", "ORD-3"):
        json_of(*PLACE, "--item", "product-3=1", "--id", order_id)
    cancelled = json_of("cancel", "ORD-2", "--reason", "changed my mind")

    assert cancelled["refunded_amount"] == "0.00"
    assert [each["order_id"] for each in json_of("list")] == ["ORD-3", "ORD-2", "ORD-1"]
    assert json_of("list", "--status", "cancelled") == [cancelled]
    assert len(json_of("list", "--limit", "1")) == 1
    assert "1 × product-3" in shop("list").stdout


def test_an_empty_listing_says_so() -> None:
    assert "No orders yet" in shop("list").stdout
    assert "No order is paid." in shop("list", "--status", "paid").stdout


def test_the_price_list_is_shown() -> None:
    assert json_of("products")[0] == {
        "sku": "product-1",
        "name": "Desk lamp",
        "unit_price": "49.99",
        "currency": "EUR",
    }
    assert "24.50" in shop("products").stdout


def test_a_simulation_prints_how_many_and_how_fast() -> None:
    result = json_of("simulate", "--count", "20", "--rate", "0", "--seed", "7")

    listed = json_of("list")
    assert result["placed"] == len(listed) == 20
    for status in ("paid", "cancelled"):
        assert result[status] == sum(each["status"] == status for each in listed)
    assert (result["seed"], result["refused"]) == (7, 0)
    assert result["orders_per_second"] > 0
    assert re.search(
        r"5 placed, \d paid, \d cancelled, in [\d.]+ s: [\d.]+ orders per second",
        shop("simulate", "--count", "5", "--rate", "0").stdout,
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(EXAMPLE, "whether ORD-123 was placed", id="place"),
        pytest.param(("pay", "ORD-124", "--amount", "99.99"), "whether ORD-124 was paid", id="pay"),
        pytest.param(
            ("cancel", "ORD-124", "--reason", "x"), "whether ORD-124 was cancelled", id="cancel"
        ),
    ],
)
def test_an_unknown_outcome_says_how_to_find_out(
    home: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], sentence: str
) -> None:
    json_of("products")
    database = Database(f"sqlite:///{home / 'orders.db'}")
    samples.place(database, order_id="ORD-124")
    database.close()
    write = orders.store.flush

    def lose_the_connection(store: Any) -> None:
        write(store)
        raise CommitOutcomeUnknown

    monkeypatch.setattr(orders.store, "flush", lose_the_connection)

    error = error_of(*arguments)

    assert isinstance(error, OperationFailed)
    assert sentence in str(error)
    assert f"see shop orders show {sentence.split()[1]}" in str(error)


def test_every_command_has_help() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]

    assert set(commands) == {"place", "pay", "cancel", "show", "list", "products", "simulate"}
    for name in commands:
        assert shop(name, "--help").exit_code == 0


@settings(deadline=None)
@given(lines=st.lists(st.text(max_size=12), max_size=3))
def test_any_text_as_items_is_parsed_or_invalid_input(lines: list[str]) -> None:
    with suppress(InvalidInput):
        items = parse_items(lines)

        assert all(1 <= quantity <= 10_000 for quantity in items.values())
