from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from services.loyalty.service import loyalty
from shared.testing import Stage
from tests.support.arrivals import Arrival, arrivals, play
from tests.support.order_events import CUSTOMER, a_new_order, cancelled, placed


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path, [loyalty])
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("shared"), [loyalty])
    yield stage
    stage.close()


def balance(stage: Stage, customer: str = CUSTOMER) -> int:
    with stage.store("loyalty") as store:
        return int(store.balance(customer))


def ledger(stage: Stage, customer: str = CUSTOMER) -> list[dict[str, Any]]:
    with stage.store("loyalty") as store:
        return list(store.ledger(customer))


@pytest.mark.parametrize(
    ("total", "points"),
    [("0.00", 0), ("0.99", 0), ("1.00", 1), ("99.99", 99), ("999999999999.99", 999_999_999_999)],
)
def test_one_point_is_awarded_for_each_whole_unit(stage: Stage, total: str, points: int) -> None:
    play(stage, [placed(total_amount=Decimal(total))], as_batch=True)

    assert balance(stage) == points


def test_each_customer_has_the_points_of_all_their_orders(stage: Stage) -> None:
    orders = [
        placed("ORD-123", total_amount=Decimal("99.99")),
        placed("ORD-124", total_amount=Decimal("49.99")),
        placed("ORD-125", customer_email="joe@example.com", total_amount=Decimal("7.50")),
    ]

    play(stage, orders, as_batch=True)

    assert balance(stage) == 148
    assert balance(stage, "joe@example.com") == 7


def test_a_customer_who_never_ordered_has_no_points(stage: Stage) -> None:
    assert balance(stage) == 0
    assert ledger(stage) == []


def test_cancelling_an_order_takes_back_exactly_its_points(stage: Stage) -> None:
    events = [placed("ORD-1"), placed("ORD-2"), cancelled("ORD-2")]

    play(stage, events, as_batch=False)

    assert balance(stage) == 99
    assert [(each["order_id"], each["kind"], each["points"]) for each in ledger(stage)] == [
        ("ORD-2", "takeback", -99),
        ("ORD-2", "award", 99),
        ("ORD-1", "award", 99),
    ]


def test_an_order_whose_cancellation_arrives_first_awards_nothing(stage: Stage) -> None:
    play(stage, [cancelled()], as_batch=True)

    play(stage, [placed()], as_batch=True)

    assert balance(stage) == 0


def test_the_notes_name_no_customer(stage: Stage) -> None:
    stage.publish(placed("ORD-1"), cancelled("ORD-1"), cancelled("ORD-2"), placed("ORD-2"))

    notes = [note for each in stage.play() for note in each.notes]

    assert notes == [
        "99 points awarded",
        "99 points taken back",
        "no points to take back",
        "no points: the order is already cancelled",
    ]


@settings(max_examples=60, deadline=None)
@given(arrival=arrivals())
def test_the_ledger_does_not_depend_on_the_order_of_arrival(
    shared_stage: Stage, arrival: Arrival
) -> None:
    order_id = a_new_order()
    customer = f"{order_id}@example.com"
    facts = arrival.facts(order_id, customer_email=customer)

    published = arrival.play(shared_stage, facts)

    is_cancelled = "cancelled" in arrival.kinds
    about = {"order_id": order_id, "customer_email": customer}
    award = {"kind": "award", "points": 99, "occurred_at": facts["placed"].occurred_at}
    entries = [about | award]
    if is_cancelled:
        takeback = {
            "kind": "takeback",
            "points": -99,
            "occurred_at": facts["cancelled"].occurred_at,
        }
        entries.append(about | takeback)
    assert sorted(ledger(shared_stage, customer), key=lambda each: each["kind"]) == entries
    assert balance(shared_stage, customer) == (0 if is_cancelled else 99)
    assert published == []
