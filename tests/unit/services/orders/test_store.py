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
    """An order of each status, named for it, placed in that order."""
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
def test_a_status_selects_the_orders_that_are_at_it(database: Database, status: str) -> None:
    with database.read() as connection:
        listed = orders.store(connection, database).latest(status=status, limit=10)

    assert [(order.order_id, order.status) for order in listed] == [(status, status)]


@pytest.mark.usefixtures("one_of_each")
def test_the_newest_come_first_and_no_more_than_asked(database: Database) -> None:
    with database.read() as connection:
        store = orders.store(connection, database)

        assert [each.order_id for each in store.latest(limit=10)] == list(reversed(STATUSES))
        assert [each.order_id for each in store.latest(limit=2)] == ["cancelled", "shipped"]


def test_the_price_list_begins_with_three_products(database: Database) -> None:
    with database.read() as connection:
        products = orders.store(connection, database).products()

    assert [(each.sku, each.unit_price) for each in products] == [
        ("product-1", Decimal("49.99")),
        ("product-2", Decimal("0.01")),
        ("product-3", Decimal("24.50")),
    ]
    assert all(isinstance(each, Product) and each.currency == "EUR" for each in products)


def test_what_was_kept_is_written_once_at_the_end(database: Database) -> None:
    place(database)

    with orders.unit_of_work(database) as work:
        order = work.store.locked("ORD-123")
        assert order is not None
        work.store.keep(order)
        assert work.store.locked("ORD-123") is order

    assert find_order(database) == order


def test_all_times_come_back_aware_and_in_utc(database: Database) -> None:
    place(database)

    assert find_order(database).placed_at.utcoffset() == timedelta(0)
