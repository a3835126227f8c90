from datetime import timedelta
from decimal import Decimal

import pytest

from services.orders.order import STATUSES, Product
from services.orders.service import orders
from shared.events import OrderShipped, StockReserved
from shared.storage.database import Database
from shared.testing import Stage
from tests.unit.services.orders.samples import cancel, find_order, pay, place


@pytest.fixture
def one_of_each(stage: Stage, database: Database) -> None:
    """An order of each status, with the status as its id, placed in that sequence."""
    for status in STATUSES:
        place(database, order_id=status)
    pay(database, "paid")
    pay(database, "shipped")
    cancel(database, "cancelled")
    stage.publish(
        StockReserved(order_id="reserved", items={"product-1": 1}),
        StockReserved(order_id="cancelled", items={"product-1": 1}),
        OrderShipped(order_id="shipped", tracking_number="T-1", carrier="Post"),
    )
    stage.play()


@pytest.mark.usefixtures("one_of_each")
@pytest.mark.parametrize("status", STATUSES)
def test_orders_can_be_listed_by_status(database: Database, status: str) -> None:
    with database.read() as connection:
        listed = orders.store(connection, database).latest(status=status, limit=10)

    assert [(order.order_id, order.status) for order in listed] == [(status, status)]


@pytest.mark.usefixtures("one_of_each")
def test_the_newest_orders_come_first_up_to_the_limit(database: Database) -> None:
    with database.read() as connection:
        store = orders.store(connection, database)

        assert [each.order_id for each in store.latest(limit=10)] == list(reversed(STATUSES))
        assert [each.order_id for each in store.latest(limit=2)] == ["cancelled", "shipped"]


def test_the_initial_price_list_has_three_products(database: Database) -> None:
    with database.read() as connection:
        products = orders.store(connection, database).products()

    assert [(each.sku, each.unit_price) for each in products] == [
        ("product-1", Decimal("49.99")),
        ("product-2", Decimal("0.01")),
        ("product-3", Decimal("24.50")),
    ]
    assert all(isinstance(each, Product) and each.currency == "EUR" for each in products)


def test_a_saved_order_is_written_at_the_end(database: Database) -> None:
    place(database)

    with orders.unit_of_work(database) as work:
        order = work.store.locked("ORD-123")
        assert order is not None
        work.store.save(order)
        assert work.store.locked("ORD-123") is order

    assert find_order(database) == order


def test_times_are_read_in_utc(database: Database) -> None:
    place(database)

    assert find_order(database).placed_at.utcoffset() == timedelta(0)
