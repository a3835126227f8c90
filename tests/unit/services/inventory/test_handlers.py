from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from services.inventory.service import inventory
from shared.events import StockRanShort, StockReserved
from shared.testing import Stage
from tests.support.arrivals import Arrival, arrivals, play
from tests.support.order_events import a_new_order, cancelled, placed

INITIAL_STOCK = {"product-1": (10_000, 0), "product-2": (5_000, 0), "product-3": (5, 0)}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path, [inventory])
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def full_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("full"), [inventory])
    with inventory.unit_of_work(stage.databases["inventory"]) as work:
        work.store.restock("product-1", 1_000_000)
    yield stage
    stage.close()


def stock(stage: Stage) -> dict[str, tuple[int, int]]:
    with stage.store("inventory") as store:
        return {each["sku"]: (each["available"], each["reserved"]) for each in store.stock()}


def handle(stage: Stage, *events: Any) -> list[Any]:
    return play(stage, events, as_batch=True)


def test_the_migration_creates_the_initial_stock(stage: Stage) -> None:
    assert stock(stage) == INITIAL_STOCK


def test_every_line_of_an_order_is_reserved_and_published(stage: Stage) -> None:
    order = placed(items={"product-1": 2, "product-2": 1})

    (event,) = handle(stage, order)

    assert isinstance(event, StockReserved)
    assert (event.order_id, dict(event.items)) == ("ORD-1", {"product-1": 2, "product-2": 1})
    assert event.causation_id == order.event_id
    assert stock(stage) == INITIAL_STOCK | {"product-1": (9_998, 2), "product-2": (4_999, 1)}


def test_the_last_piece_can_be_reserved(stage: Stage) -> None:
    (event,) = handle(stage, placed(items={"product-3": 5}))

    assert isinstance(event, StockReserved)
    assert stock(stage)["product-3"] == (0, 5)


def test_an_order_that_runs_short_reserves_nothing_and_publishes_what_is_missing(
    stage: Stage,
) -> None:
    (event,) = handle(stage, placed(items={"product-1": 2, "product-3": 6}))

    assert isinstance(event, StockRanShort)
    assert (event.order_id, dict(event.missing)) == ("ORD-1", {"product-3": 1})
    assert stock(stage) == INITIAL_STOCK


def test_all_pieces_of_an_unknown_product_are_missing(stage: Stage) -> None:
    (event,) = handle(stage, placed(items={"product-1": 1, "nothing-such": 7}))

    assert isinstance(event, StockRanShort)
    assert dict(event.missing) == {"nothing-such": 7}


def test_orders_of_one_batch_are_reserved_in_their_order_until_stock_runs_short(
    stage: Stage,
) -> None:
    orders = [placed(f"ORD-{number}", items={"product-3": 2}) for number in range(4)]

    published = handle(stage, *orders)

    assert [type(each) for each in published] == [StockReserved] * 2 + [StockRanShort] * 2
    assert [dict(each.missing) for each in published[2:]] == [{"product-3": 1}] * 2
    assert stock(stage)["product-3"] == (1, 4)


def test_a_cancelled_order_releases_its_stock(stage: Stage) -> None:
    handle(stage, placed(items={"product-3": 5}))

    published = handle(stage, cancelled())

    assert published == []
    assert stock(stage) == INITIAL_STOCK


def test_released_stock_is_available_to_the_next_order_of_the_batch(stage: Stage) -> None:
    handle(stage, placed("ORD-1", items={"product-3": 5}))

    (event,) = handle(stage, cancelled("ORD-1"), placed("ORD-2", items={"product-3": 5}))

    assert isinstance(event, StockReserved)
    assert stock(stage)["product-3"] == (0, 5)


@pytest.mark.parametrize("concurrency", [True, False], ids=["one batch", "one by one"])
def test_an_order_whose_cancellation_arrives_first_reserves_nothing(
    stage: Stage, *, concurrency: bool
) -> None:
    published = play(stage, [cancelled(), placed()], as_batch=concurrency)

    assert published == []
    assert stock(stage) == INITIAL_STOCK


def test_an_order_that_ran_short_releases_nothing(stage: Stage) -> None:
    handle(stage, placed(items={"product-3": 6}))

    handle(stage, cancelled())

    assert stock(stage) == INITIAL_STOCK


def test_the_notes_say_what_was_reserved_and_released(stage: Stage) -> None:
    many = {f"product-{number}": 1 for number in range(10, 110)}
    stage.publish(placed("ORD-1"), placed("ORD-2", items=many), cancelled("ORD-1"))

    notes = [note for each in stage.play() for note in each.notes]

    assert notes == [
        "2 × product-1, 1 × product-2 reserved",
        "1 × product-10, 1 × product-11, 1 × product-12 and 97 more missing",
        "2 × product-1, 1 × product-2 released",
    ]


@settings(max_examples=80, deadline=None)
@given(arrival=arrivals())
def test_the_stock_does_not_depend_on_the_order_of_arrival(
    full_stage: Stage, arrival: Arrival
) -> None:
    before = stock(full_stage)
    pieces = 10_000 if "short" in arrival.kinds else 1
    product = "product-3" if "short" in arrival.kinds else "product-1"
    facts = arrival.facts(a_new_order(), items={product: pieces})

    published = arrival.play(full_stage, facts)

    available, held = before[product]
    ends_reserved = not {"short", "cancelled"} & set(arrival.kinds)
    after = (available - pieces, held + pieces) if ends_reserved else (available, held)
    assert stock(full_stage) == before | {product: after}
    if arrival.is_first("cancelled", "placed"):
        assert published == []
    else:
        expected = StockRanShort if "short" in arrival.kinds else StockReserved
        assert [type(each) for each in published] == [expected]
