import pytest

from tests.support.commanding import Shop

INITIAL_STOCK = [
    {"sku": "product-1", "available": 10_000, "reserved": 0},
    {"sku": "product-2", "available": 5_000, "reserved": 0},
    {"sku": "product-3", "available": 5, "reserved": 0},
]


def test_the_stock_is_printed_as_json(shop: Shop) -> None:
    assert shop("inventory", "stock", "--json").json == INITIAL_STOCK


def test_without_json_the_stock_is_a_table(shop: Shop) -> None:
    result = shop("inventory", "stock")

    assert result.out.split()[:3] == ["Product", "Available", "Reserved"]
    assert "product-3" in result.out


def test_restocking_adds_to_the_stock(shop: Shop) -> None:
    result = shop("inventory", "restock", "product-3", "7", "--json")

    assert result.json == {"sku": "product-3", "available": 12, "reserved": 0}
    assert shop("inventory", "stock", "--json").json == [*INITIAL_STOCK[:2], result.json]


def test_the_largest_allowed_number_can_be_restocked(shop: Shop) -> None:
    assert shop("inventory", "restock", "product-3", "1000000", "--json").code == 0


def test_the_error_for_an_unknown_product_lists_the_known_ones(shop: Shop) -> None:
    result = shop("inventory", "restock", "product-9", "7")

    assert result.code == 2
    assert result.out == ""
    assert result.err == (
        "shop: there is no product 'product-9'; there are product-1, product-2, product-3\n"
    )


@pytest.mark.parametrize("pieces", ["0", "-1", "1000001", "1.5", "many"])
def test_an_invalid_number_of_pieces_is_refused(shop: Shop, pieces: str) -> None:
    result = shop("inventory", "restock", "product-3", "--", pieces)

    assert result.code == 2
    assert result.err.startswith("shop: Invalid value for 'N'")
    assert result.err.count("\n") == 1
    assert shop("inventory", "stock", "--json").json == INITIAL_STOCK
