import pytest

from tests.support.commanding import Shop

TO_BEGIN_WITH = [
    {"sku": "product-1", "available": 100, "reserved": 0},
    {"sku": "product-2", "available": 50, "reserved": 0},
    {"sku": "product-3", "available": 5, "reserved": 0},
]


def test_the_stock_is_shown_by_product(shop: Shop) -> None:
    assert shop("inventory", "stock", "--json").json == TO_BEGIN_WITH


def test_the_stock_is_shown_as_a_table(shop: Shop) -> None:
    said = shop("inventory", "stock")

    assert said.out.split()[:3] == ["Product", "Available", "Reserved"]
    assert "product-3" in said.out


def test_restocking_adds_to_what_is_there(shop: Shop) -> None:
    said = shop("inventory", "restock", "product-3", "7", "--json")

    assert said.json == {"sku": "product-3", "available": 12, "reserved": 0}
    assert shop("inventory", "stock", "--json").json == [*TO_BEGIN_WITH[:2], said.json]


def test_a_thousand_times_the_most_can_be_restocked(shop: Shop) -> None:
    assert shop("inventory", "restock", "product-3", "1000000", "--json").code == 0


def test_an_unknown_product_is_refused_with_the_known_ones(shop: Shop) -> None:
    said = shop("inventory", "restock", "product-9", "7")

    assert said.code == 2
    assert said.out == ""
    assert said.err == (
        "shop: there is no product 'product-9'; there are product-1, product-2, product-3\n"
    )


@pytest.mark.parametrize("pieces", ["0", "-1", "1000001", "1.5", "many"])
def test_a_wrong_number_of_pieces_is_refused(shop: Shop, pieces: str) -> None:
    said = shop("inventory", "restock", "product-3", "--", pieces)

    assert said.code == 2
    assert said.err.startswith("shop: Invalid value for 'N'")
    assert said.err.count("\n") == 1
    assert shop("inventory", "stock", "--json").json == TO_BEGIN_WITH
