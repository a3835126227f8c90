"""Inventory on PostgreSQL: concurrent processes with the same products and orders."""

from collections import Counter
from collections.abc import Iterator

import pytest

from services.inventory.service import inventory
from shared.events import OrderPlaced, StockReserved
from shared.messaging.ports.consumer import Outcome
from shared.storage.database import Database
from shared.storage.migrating import migrate
from shared.testing import recording
from tests.support.order_events import cancelled, placed
from tests.support.racing import race

PRODUCTS = ("product-1", "product-2", "product-3")


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    migrate(database, inventory.migrations)
    yield database
    database.close()


def stock(database: Database) -> dict[str, tuple[int, int]]:
    with database.read() as connection:
        products = inventory.store(connection, database).stock()
    return {each["sku"]: (each["available"], each["reserved"]) for each in products}


def test_two_processes_with_the_same_products_neither_deadlock_nor_oversell(
    database: Database,
) -> None:
    ascending = [batch("up", number, PRODUCTS) for number in range(12)]
    descending = [batch("down", number, PRODUCTS[::-1]) for number in range(12)]

    with recording() as published:
        reacted = race(inventory, database, ascending, descending)

    reserved = sum(
        (Counter(each.items) for each in published if isinstance(each, StockReserved)), Counter()
    )
    assert {each.outcome for each in reacted} == {Outcome.DONE}
    assert all(each.error is None for each in reacted)
    assert len(published) == 2 * 12 * 8
    assert stock(database) == {
        sku: (initial - reserved[sku], reserved[sku])
        for sku, initial in zip(PRODUCTS, (10_000, 5_000, 5), strict=True)
    }
    assert stock(database)["product-3"] == (0, 5)


def batch(name: str, number: int, products: tuple[str, ...]) -> list[OrderPlaced]:
    """Eight orders of two products each, which start with each product in turn."""
    return [
        placed(
            f"ORD-{name}-{number}-{line}",
            items={products[line % 3]: 1, products[(line + 1) % 3]: 1},
        )
        for line in range(8)
    ]


def test_orders_placed_and_cancelled_concurrently_leave_nothing_reserved(
    database: Database,
) -> None:
    orders = [f"ORD-{number}" for number in range(40)]
    items = {"product-1": 1, "product-2": 1}

    reacted = race(
        inventory,
        database,
        [[placed(order_id, items=items)] for order_id in orders],
        [[cancelled(order_id)] for order_id in orders],
    )

    assert {each.outcome for each in reacted} == {Outcome.DONE}
    assert stock(database) == {
        "product-1": (10_000, 0),
        "product-2": (5_000, 0),
        "product-3": (5, 0),
    }
