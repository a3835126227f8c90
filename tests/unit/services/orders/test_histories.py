"""An order's invariants hold after any sequence of commands and events."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from services.orders.order import OrderConflict
from services.orders.placing import new_order_id
from services.orders.service import orders
from shared.events import OrderShipped, StockRanShort, StockReserved
from shared.messaging.ports.consumer import Outcome
from shared.storage.database import Database
from shared.storage.tables import outbox
from shared.testing import Stage
from tests.unit.services.orders.samples import cancel, find_order, pay, place

ACTIONS: dict[str, Callable[[Stage, str], object]] = {
    "pay": lambda stage, order_id: pay(stage.databases["orders"], order_id),
    "cancel": lambda stage, order_id: cancel(stage.databases["orders"], order_id),
    "reserved": lambda stage, order_id: stage.publish(
        StockReserved(order_id=order_id, items={"product-1": 2})
    ),
    "short": lambda stage, order_id: stage.publish(
        StockRanShort(order_id=order_id, missing={"product-1": 2})
    ),
    "shipped": lambda stage, order_id: stage.publish(
        OrderShipped(order_id=order_id, tracking_number="T-1", carrier="Post")
    ),
    "react": lambda stage, order_id: stage.react("orders", errors="collect"),  # noqa: ARG005 - same signature as the others
}


@pytest.fixture(scope="module")
def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("histories")
    stage = Stage(folder, [orders])
    yield stage
    stage.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions=st.lists(st.sampled_from(sorted(ACTIONS)), max_size=10))
@example(["pay", "short", "react", "pay", "cancel", "reserved"])
@example(["short", "pay", "react"])
@example(["cancel", "short", "reserved", "shipped"])
@example(["pay", "shipped", "react", "short", "cancel"])
def test_no_sequence_of_actions_breaks_an_invariant(
    shared_stage: Stage, actions: list[str]
) -> None:
    database = shared_stage.databases["orders"]
    placed = place(database, order_id=new_order_id())

    statuses = [find_order(database, placed.order_id).status]
    for action in actions:
        with suppress(OrderConflict):
            ACTIONS[action](shared_stage, placed.order_id)
        statuses.append(find_order(database, placed.order_id).status)
    results = shared_stage.react("orders", errors="collect")

    order = find_order(database, placed.order_id)
    published = published_types(database, placed.order_id)
    assert all(each.outcome in {Outcome.DONE, Outcome.DEAD} for each in results)
    assert published.count("order.placed.v1") == 1
    assert published.count("payment.received.v1") == (1 if order.paid_at else 0)
    assert published.count("order.cancelled.v1") == (1 if order.cancelled_at else 0)
    if order.cancelled_at:
        refund = order.total_amount if order.paid_at else Decimal(0)
        assert order.refunded_amount == refund
        assert order.shipped_at is None
    else:
        assert order.refunded_amount is None
    if "cancelled" in statuses:
        assert order.status == "cancelled"
    assert (order.items, order.total_amount) == (placed.items, placed.total_amount)


def published_types(database: Database, order_id: str) -> list[str]:
    with database.read() as connection:
        statement = select(outbox.c.event_type).where(outbox.c.subject == order_id)
        return list(connection.execute(statement).scalars())
