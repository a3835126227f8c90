from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import select

from services.orders.order import OrderRefuses
from services.orders.placing import new_order_id
from services.orders.service import orders
from services.orders.tables import order_lines
from shared.errors import InvalidInput
from shared.events import OrderPlaced
from shared.storage.database import Database
from shared.storage.migrating import migrate
from shared.testing import recording
from tests.unit.services.orders.samples import CONTENT, found, new_order, pay, place


def test_an_order_is_kept_and_announced_at_the_total_of_the_price_list(database: Database) -> None:
    with recording() as published:
        order = place(database)

    (event,) = published
    assert isinstance(event, OrderPlaced)
    assert order.total_amount == event.total_amount == Decimal("99.99")
    assert event.items == CONTENT["items"]
    assert found(database) == order
    assert order.status == "placed"
    assert (order.placed_at, order.correlation_id) == (event.occurred_at, event.event_id)
    assert event.correlation_id == event.event_id


def test_each_line_keeps_the_price_that_it_was_placed_at(database: Database) -> None:
    place(database)

    with database.read() as connection:
        lines = connection.execute(select(order_lines).order_by(order_lines.c.sku)).all()
    assert [tuple(line)[1:] for line in lines] == [
        ("product-1", 2, Decimal("49.99")),
        ("product-2", 1, Decimal("0.01")),
    ]


def test_the_same_order_again_is_answered_and_not_announced_again(database: Database) -> None:
    first = place(database)
    pay(database)

    with recording() as published:
        again = place(database, items={"product-2": 1, "product-1": 2})

    assert again.placed_at == first.placed_at
    assert again.status == "paid"
    assert published == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"customer_email": "other@example.com"}, id="mail"),
        pytest.param({"shipping_address": "1 Elm St"}, id="address"),
        pytest.param({"items": {"product-1": 2}}, id="a line less"),
        pytest.param({"items": {"product-1": 2, "product-2": 2}}, id="quantity"),
    ],
)
def test_an_id_that_another_order_has_is_refused(
    database: Database, change: dict[str, object]
) -> None:
    place(database)

    with recording() as published, pytest.raises(OrderRefuses, match="ORD-123 has been placed"):
        place(database, **change)

    assert published == []
    assert found(database).items == CONTENT["items"]


def test_a_product_that_is_not_sold_is_refused_and_nothing_is_kept(database: Database) -> None:
    with recording() as published, pytest.raises(InvalidInput, match="no product product-9"):
        place(database, items={"product-1": 1, "product-9": 1})

    assert published == []
    with database.read() as connection:
        assert orders.store(connection, database).latest(limit=1) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"order_id": "ORD 1"}, id="blank in id"),
        pytest.param({"order_id": "x" * 65}, id="long id"),
        pytest.param({"customer_email": "customer@example.com\nBcc: x@y.z"}, id="line break"),
        pytest.param({"customer_email": "customer"}, id="no domain"),
        pytest.param({"shipping_address": " "}, id="blank address"),
        pytest.param({"shipping_address": "a\nb"}, id="address of two lines"),
        pytest.param({"items": {}}, id="no item"),
        pytest.param({"items": {f"p-{n}": 1 for n in range(101)}}, id="101 lines"),
        pytest.param({"items": {"product-1": 0}}, id="none of it"),
        pytest.param({"items": {"product-1": 10_001}}, id="too many"),
        pytest.param({"colour": "red"}, id="a field that there is not"),
    ],
)
def test_what_could_not_be_announced_is_no_order(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refused:
        new_order(**change)

    assert "input_value" not in str(refused.value)


def test_what_a_customer_gave_does_not_show_in_a_representation(database: Database) -> None:
    for shown in (repr(new_order()), repr(place(database))):
        assert "customer@example.com" not in shown
        assert "Springfield" not in shown


def test_drawn_ids_are_readable_and_differ() -> None:
    drawn = {new_order_id() for _ in range(1000)}

    assert len(drawn) == 1000
    for order_id in drawn:
        assert new_order(order_id=order_id).order_id == order_id
        assert not set(order_id.removeprefix("ORD-")) & set("01OIL")


@pytest.fixture(scope="module")
def placed_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('totals') / 'orders.db'}")
    migrate(database, orders.migrations)
    yield database
    database.close()


@settings(max_examples=30, deadline=None)
@given(
    items=st.dictionaries(
        st.sampled_from(["product-1", "product-2", "product-3"]),
        st.integers(1, 10_000),
        min_size=1,
    )
)
def test_the_total_is_the_sum_of_the_lines(placed_in: Database, items: dict[str, int]) -> None:
    prices = {"product-1": 4999, "product-2": 1, "product-3": 2450}

    order = place(placed_in, order_id=new_order_id(), items=items)

    cents = sum(prices[sku] * quantity for sku, quantity in items.items())
    assert order.total_amount == Decimal(cents) / 100
    assert found(placed_in, order.order_id) == order
