from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import select, update

from services.orders.order import OrderConflict
from services.orders.placing import new_order_id
from services.orders.service import orders
from services.orders.tables import order_lines
from services.orders.tables import orders as orders_table
from shared.errors import InvalidInput
from shared.events import OrderPlaced
from shared.storage.database import Database
from shared.storage.migrating import migrate
from shared.testing import recording
from tests.unit.services.orders.samples import CONTENT, find_order, new_order, pay, place


def test_an_order_is_stored_and_published_with_the_total_of_the_price_list(
    database: Database,
) -> None:
    with recording() as published:
        order = place(database)

    (event,) = published
    assert isinstance(event, OrderPlaced)
    assert order.total_amount == event.total_amount == Decimal("99.99")
    assert event.items == CONTENT["items"]
    assert find_order(database) == order
    assert order.status == "placed"
    assert (order.placed_at, order.correlation_id) == (event.occurred_at, event.event_id)
    assert event.correlation_id == event.event_id


def test_each_line_keeps_the_price_at_the_time_of_the_order(database: Database) -> None:
    place(database)

    with database.read() as connection:
        lines = connection.execute(select(order_lines).order_by(order_lines.c.sku)).all()
    assert [tuple(line)[1:] for line in lines] == [
        ("product-1", 2, Decimal("49.99")),
        ("product-2", 1, Decimal("0.01")),
    ]


def test_placing_the_same_order_again_returns_it_and_publishes_nothing(database: Database) -> None:
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
        pytest.param({"items": {"product-1": 2}}, id="fewer lines"),
        pytest.param({"items": {"product-1": 2, "product-2": 2}}, id="quantity"),
    ],
)
def test_the_id_of_another_order_is_refused(database: Database, change: dict[str, object]) -> None:
    place(database)

    with recording() as published, pytest.raises(OrderConflict, match="ORD-123 already exists"):
        place(database, **change)

    assert published == []
    assert find_order(database).items == CONTENT["items"]


def test_an_unknown_product_is_refused_and_nothing_is_stored(database: Database) -> None:
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
        pytest.param({"items": {"product-1": 0}}, id="zero pieces"),
        pytest.param({"items": {"product-1": 10_001}}, id="too many pieces"),
        pytest.param({"colour": "red"}, id="unknown field"),
    ],
)
def test_a_request_that_could_not_be_published_is_invalid(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refused:
        new_order(**change)

    assert "input_value" not in str(refused.value)


def test_representations_do_not_show_personal_data(database: Database) -> None:
    for text in (repr(new_order()), repr(place(database))):
        assert "customer@example.com" not in text
        assert "Springfield" not in text


def test_random_ids_are_readable_and_different() -> None:
    order_ids = {new_order_id() for _ in range(1000)}

    assert len(order_ids) == 1000
    for order_id in order_ids:
        assert new_order(order_id=order_id).order_id == order_id
        assert not set(order_id.removeprefix("ORD-")) & set("01OIL")


@pytest.fixture(scope="module")
def shared_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
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
def test_the_total_is_the_sum_of_the_lines(
    shared_database: Database, items: dict[str, int]
) -> None:
    prices = {"product-1": 4999, "product-2": 1, "product-3": 2450}

    order = place(shared_database, order_id=new_order_id(), items=items)

    cents = sum(prices[sku] * quantity for sku, quantity in items.items())
    assert order.total_amount == Decimal(cents) / 100
    assert find_order(shared_database, order.order_id) == order


def test_an_order_of_the_version_before_is_the_same_with_plain_spaces_and_domain(
    database: Database,
) -> None:
    typed = {"customer_email": "Jane@EXAMPLE.com", "shipping_address": "Zoe\u0308  Straße 1"}
    order = place(database)
    with database.begin() as connection:
        connection.execute(update(orders_table).values(**typed))

    composed = {"customer_email": "Jane@Example.com", "shipping_address": "Zo\u00eb\u3000Straße 1"}
    with recording() as published:
        again = place(database, order_id=order.order_id, **composed)

    assert (again.order_id, published) == (order.order_id, [])


def test_an_id_from_a_person_begins_with_a_letter_or_digit() -> None:
    with pytest.raises(ValidationError, match="order_id"):
        new_order(order_id="-rf")
    assert new_order(order_id="9-").order_id == "9-"
