from collections.abc import Sequence
from decimal import Decimal
from itertools import permutations

import pytest
from sqlalchemy.event import listen

from services.orders.service import orders
from shared.errors import Impossible
from shared.events import (
    DomainEvent,
    OrderCancelled,
    OrderShipped,
    StockRanShort,
    StockReserved,
)
from shared.messaging.ports.consumer import Outcome
from shared.runtime.reactor import DeliveryResult
from shared.storage.database import Database
from shared.testing import Stage, recording
from tests.unit.services.orders.samples import (
    cancel,
    find_order,
    pay,
    place,
    react_in_one_batch,
    shipments_and_shortages,
)

RESERVED = StockReserved(order_id="ORD-123", items={"product-1": 2, "product-2": 1})
SHORT = StockRanShort(order_id="ORD-123", missing={"product-1": 1})
SHIPPED = OrderShipped(order_id="ORD-123", tracking_number="TRACK-1", carrier="Post")


def publish(stage: Stage, *events: DomainEvent) -> list[DeliveryResult]:
    stage.publish(*events)
    return stage.play(errors="collect")


def outcomes(results: Sequence[DeliveryResult]) -> list[Outcome]:
    return [each.outcome for each in results]


def test_a_reservation_is_recorded(stage: Stage, database: Database) -> None:
    place(database)

    publish(stage, RESERVED)

    order = find_order(database)
    assert (order.status, order.reserved_at) == ("reserved", RESERVED.occurred_at)


def test_a_shipment_is_recorded_with_carrier_and_tracking_number(
    stage: Stage, database: Database
) -> None:
    place(database)
    pay(database)

    publish(stage, SHIPPED)

    order = find_order(database)
    assert (order.status, order.shipped_at) == ("shipped", SHIPPED.occurred_at)
    assert (order.carrier, order.tracking_number) == ("Post", "TRACK-1")


@pytest.mark.parametrize("order_of_arrival", list(permutations([RESERVED, SHIPPED])))
def test_reserved_and_shipped_can_arrive_in_either_order(
    stage: Stage, database: Database, order_of_arrival: tuple[DomainEvent, ...]
) -> None:
    placed = place(database)
    pay(database)

    for event in order_of_arrival:
        publish(stage, event)

    order = find_order(database)
    assert order.status == "shipped"
    assert (order.reserved_at, order.shipped_at) == (RESERVED.occurred_at, SHIPPED.occurred_at)
    assert order.items == placed.items


def test_a_shortage_cancels_an_unpaid_order(stage: Stage, database: Database) -> None:
    placed = place(database)

    with recording() as published:
        publish(stage, SHORT)

    (event,) = published
    assert isinstance(event, OrderCancelled)
    assert event.reason == "out of stock: 1 × product-1"
    assert event.refunded_amount == Decimal("0.00")
    assert event.causation_id == SHORT.event_id
    assert event.correlation_id == placed.correlation_id
    assert find_order(database).status == "cancelled"


def test_a_shortage_refunds_what_was_paid(stage: Stage, database: Database) -> None:
    place(database)
    pay(database)

    with recording() as published:
        publish(stage, SHORT)

    (event,) = published
    assert event.refunded_amount == find_order(database).refunded_amount == Decimal("99.99")


def test_a_shortage_after_a_cancellation_changes_nothing(stage: Stage, database: Database) -> None:
    place(database)
    cancelled = cancel(database)

    with recording() as published:
        results = publish(stage, SHORT)

    assert published == []
    assert outcomes(results) == [Outcome.DONE]
    assert find_order(database) == cancelled


def test_a_second_shortage_of_the_same_order_changes_nothing(
    stage: Stage, database: Database
) -> None:
    place(database)
    pay(database)

    with recording() as published:
        publish(stage, SHORT, StockRanShort(order_id="ORD-123", missing={"product-1": 1}))

    assert [type(event) for event in published] == [OrderCancelled]


def test_a_cancelled_order_stays_cancelled_when_a_reservation_arrives(
    stage: Stage, database: Database
) -> None:
    place(database)
    cancel(database)

    results = publish(stage, RESERVED)

    assert outcomes(results) == [Outcome.DONE]
    order = find_order(database)
    assert (order.status, order.reserved_at) == ("cancelled", RESERVED.occurred_at)


@pytest.mark.parametrize(
    ("before", "after"),
    [pytest.param(SHIPPED, SHORT, id="shipped"), pytest.param(SHORT, SHIPPED, id="short")],
)
def test_short_and_shipped_contradict_each_other(
    stage: Stage, database: Database, before: DomainEvent, after: DomainEvent
) -> None:
    place(database)
    pay(database)
    publish(stage, before)
    first = find_order(database)

    (result,) = publish(stage, after)

    assert result.outcome is Outcome.DEAD
    assert isinstance(result.error, Impossible)
    assert find_order(database) == first


@pytest.mark.parametrize("event", [RESERVED, SHORT, SHIPPED], ids=lambda event: event.topic)
def test_an_event_about_an_unknown_order_is_impossible(stage: Stage, event: DomainEvent) -> None:
    (result,) = publish(stage, event)

    assert result.outcome is Outcome.DEAD
    assert "ORD-123, which was never placed here" in str(result.error)


def test_the_reason_names_as_many_products_as_fit(stage: Stage, database: Database) -> None:
    place(database)
    missing = {f"{n:03}-{'x' * 60}": 10_000 for n in range(100)}

    with recording() as published:
        publish(stage, StockRanShort(order_id="ORD-123", missing=missing))

    (event,) = published
    assert event.reason.startswith(f"out of stock: 10000 × 000-{'x' * 60}, 10000 × 001-")
    assert event.reason.endswith(" and 98 more")


def test_a_mixed_batch_about_the_same_orders_is_one_transaction(database: Database) -> None:
    for number in range(100):
        place(database, order_id=f"ORD-{number}")
        pay(database, f"ORD-{number}")
    begun: list[object] = []
    listen(database.engine, "begin", begun.append)

    with recording() as published:
        results = react_in_one_batch(database, shipments_and_shortages(100))

    assert len(begun) == 1
    assert outcomes(results) == [Outcome.DONE] * 200
    assert sum(each.duplicate for each in results) == 20
    assert [type(event) for event in published] == [OrderCancelled] * 20
    with database.read() as connection:
        store = orders.store(connection, database)
        assert len(store.latest(status="shipped", limit=100)) == 80
        assert len(store.latest(status="cancelled", limit=100)) == 20


def test_an_impossible_event_does_not_affect_the_others_of_its_batch(database: Database) -> None:
    place(database)
    unknown = StockReserved(order_id="ORD-9", items={"product-1": 1})

    results = react_in_one_batch(database, [unknown, RESERVED])

    assert outcomes(results) == [Outcome.DEAD, Outcome.DONE]
    assert find_order(database).status == "reserved"


def test_the_note_of_a_cancellation_names_no_customer(stage: Stage, database: Database) -> None:
    place(database)
    pay(database)

    results = publish(stage, SHORT)

    assert results[0].notes == ("cancelled, 99.99 EUR refunded",)
