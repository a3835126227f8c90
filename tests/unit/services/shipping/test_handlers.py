from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from sqlalchemy import select

from services.shipping.carrier import hand_over
from services.shipping.service import shipping
from services.shipping.tables import shipments
from shared.events import DomainEvent, OrderShipped
from shared.testing import Stage
from tests.support.arrivals import Arrival, arrivals, play
from tests.support.order_events import ADDRESS, a_new_order, cancelled, paid, placed, reserved


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path, [shipping])
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("shared"), [shipping])
    yield stage
    stage.close()


def shipment(stage: Stage, order_id: str = "ORD-1") -> dict[str, Any]:
    with stage.store("shipping") as store:
        statement = select(shipments).where(shipments.c.order_id == order_id)
        return dict(store.connection.execute(statement).mappings().one())


def status(stage: Stage) -> str:
    with stage.store("shipping") as store:
        (only,) = store.listed()
        return str(only["status"])


@pytest.mark.parametrize("concurrency", [True, False], ids=["one batch", "one by one"])
@pytest.mark.parametrize(
    "events",
    list(permutations([placed(), paid(), reserved()])),
    ids=lambda events: ", ".join(event.topic for event in events),
)
def test_an_order_is_shipped_once_whichever_fact_comes_last(
    stage: Stage, events: tuple[DomainEvent, ...], *, concurrency: bool
) -> None:
    (told,) = play(stage, events, as_batch=concurrency)

    assert isinstance(told, OrderShipped)
    assert told.order_id == "ORD-1"
    assert (told.carrier, told.tracking_number) == hand_over("ORD-1")
    assert told.causation_id == events[-1].event_id
    found = shipment(stage)
    assert (found["carrier"], found["tracking_number"]) == hand_over("ORD-1")
    assert found["shipped_at"] == told.occurred_at
    assert found["address"] == ADDRESS


@pytest.mark.parametrize(
    "events",
    [(placed(), paid()), (placed(), reserved()), (paid(), reserved())],
    ids=["not reserved", "not paid", "not placed"],
)
def test_an_order_that_lacks_something_is_not_shipped(
    stage: Stage, events: tuple[DomainEvent, ...]
) -> None:
    assert play(stage, events, as_batch=True) == []
    assert status(stage) == "open"


def test_a_cancelled_order_is_never_shipped_and_its_address_forgotten(stage: Stage) -> None:
    told = play(stage, [placed(), paid(), cancelled(), reserved()], as_batch=False)

    assert told == []
    assert status(stage) == "void"
    assert shipment(stage)["address"] is None


def test_the_address_of_an_order_that_was_cancelled_first_is_not_kept(stage: Stage) -> None:
    play(stage, [cancelled(), placed()], as_batch=False)

    assert shipment(stage)["address"] is None


def test_what_was_shipped_stays_shipped(stage: Stage) -> None:
    play(stage, [placed(), paid(), reserved()], as_batch=True)

    play(stage, [cancelled(), paid()], as_batch=True)

    assert status(stage) == "shipped"
    assert shipment(stage)["tracking_number"] == hand_over("ORD-1").tracking_number


def test_what_was_done_is_said_without_the_address(stage: Stage) -> None:
    stage.publish(placed(), paid(), reserved(), cancelled("ORD-2"), placed("ORD-2"))

    notes = [note for each in stage.play() for note in each.notes]

    assert notes == [
        "shipment opened",
        "payment noted",
        "reservation noted",
        f"shipped as {hand_over('ORD-1').tracking_number}",
        "shipment voided",
        "nothing to ship: the order is cancelled already",
    ]


@settings(max_examples=80, deadline=None)
@given(arrival=arrivals())
def test_any_arrival_of_a_history_ends_in_the_same_shipment(
    shared_stage: Stage, arrival: Arrival
) -> None:
    order_id = a_new_order()
    facts = arrival.facts(order_id)

    told = arrival.play(shared_stage, facts)

    is_void = "cancelled" in arrival.kinds
    ships = {"placed", "paid", "reserved"} <= set(arrival.kinds)
    parcel = hand_over(order_id) if ships else (None, None)
    assert [type(each) for each in told] == [OrderShipped] * ships
    assert shipment(shared_stage, order_id) == {
        "order_id": order_id,
        "address": None if is_void else ADDRESS,
        "opened_at": facts["placed"].occurred_at,
        "paid_at": facts["paid"].occurred_at if "paid" in facts else None,
        "reserved_at": facts["reserved"].occurred_at if "reserved" in facts else None,
        "voided_at": facts["cancelled"].occurred_at if is_void else None,
        "carrier": parcel[0],
        "tracking_number": parcel[1],
        "shipped_at": told[0].occurred_at if ships else None,
    }
