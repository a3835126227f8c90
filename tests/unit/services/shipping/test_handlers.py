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
def test_an_order_is_shipped_once_in_any_order_of_arrival(
    stage: Stage, events: tuple[DomainEvent, ...], *, concurrency: bool
) -> None:
    (event,) = play(stage, events, as_batch=concurrency)

    assert isinstance(event, OrderShipped)
    assert event.order_id == "ORD-1"
    assert (event.carrier, event.tracking_number) == hand_over("ORD-1")
    assert event.causation_id == events[-1].event_id
    stored = shipment(stage)
    assert (stored["carrier"], stored["tracking_number"]) == hand_over("ORD-1")
    assert stored["shipped_at"] == event.occurred_at
    assert stored["address"] == ADDRESS


@pytest.mark.parametrize(
    "events",
    [(placed(), paid()), (placed(), reserved()), (paid(), reserved())],
    ids=["not reserved", "not paid", "not placed"],
)
def test_an_order_is_not_shipped_until_it_is_placed_paid_and_reserved(
    stage: Stage, events: tuple[DomainEvent, ...]
) -> None:
    assert play(stage, events, as_batch=True) == []
    assert status(stage) == "open"


def test_a_cancelled_order_is_not_shipped_and_its_address_is_deleted(stage: Stage) -> None:
    published = play(stage, [placed(), paid(), cancelled(), reserved()], as_batch=False)

    assert published == []
    assert status(stage) == "void"
    assert shipment(stage)["address"] is None


def test_the_address_is_not_stored_if_the_cancellation_arrives_first(stage: Stage) -> None:
    play(stage, [cancelled(), placed()], as_batch=False)

    assert shipment(stage)["address"] is None


def test_a_shipped_order_stays_shipped(stage: Stage) -> None:
    play(stage, [placed(), paid(), reserved()], as_batch=True)

    play(stage, [cancelled(), paid()], as_batch=True)

    assert status(stage) == "shipped"
    assert shipment(stage)["tracking_number"] == hand_over("ORD-1").tracking_number


def test_the_notes_hold_no_address(stage: Stage) -> None:
    stage.publish(placed(), paid(), reserved(), cancelled("ORD-2"), placed("ORD-2"))

    notes = [note for each in stage.play() for note in each.notes]

    assert notes == [
        "shipment opened",
        "payment recorded",
        "reservation recorded",
        f"shipped as {hand_over('ORD-1').tracking_number}",
        "shipment voided",
        "nothing to ship: the order is already cancelled",
    ]


@settings(max_examples=80, deadline=None)
@given(arrival=arrivals())
def test_the_shipment_does_not_depend_on_the_order_of_arrival(
    shared_stage: Stage, arrival: Arrival
) -> None:
    order_id = a_new_order()
    facts = arrival.facts(order_id)

    published = arrival.play(shared_stage, facts)

    is_void = "cancelled" in arrival.kinds
    ships = {"placed", "paid", "reserved"} <= set(arrival.kinds)
    parcel = hand_over(order_id) if ships else (None, None)
    assert [type(each) for each in published] == [OrderShipped] * ships
    assert shipment(shared_stage, order_id) == {
        "order_id": order_id,
        "address": None if is_void else ADDRESS,
        "opened_at": facts["placed"].occurred_at,
        "paid_at": facts["paid"].occurred_at if "paid" in facts else None,
        "reserved_at": facts["reserved"].occurred_at if "reserved" in facts else None,
        "voided_at": facts["cancelled"].occurred_at if is_void else None,
        "carrier": parcel[0],
        "tracking_number": parcel[1],
        "shipped_at": published[0].occurred_at if ships else None,
    }
