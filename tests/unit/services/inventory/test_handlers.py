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

TO_BEGIN_WITH = {"product-1": (100, 0), "product-2": (50, 0), "product-3": (5, 0)}


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


def hear(stage: Stage, *events: Any) -> list[Any]:
    return play(stage, events, as_batch=True)


def test_stock_is_there_to_begin_with(stage: Stage) -> None:
    assert stock(stage) == TO_BEGIN_WITH


def test_every_line_of_an_order_is_reserved_and_announced(stage: Stage) -> None:
    order = placed(items={"product-1": 2, "product-2": 1})

    (told,) = hear(stage, order)

    assert isinstance(told, StockReserved)
    assert (told.order_id, dict(told.items)) == ("ORD-1", {"product-1": 2, "product-2": 1})
    assert told.causation_id == order.event_id
    assert stock(stage) == TO_BEGIN_WITH | {"product-1": (98, 2), "product-2": (49, 1)}


def test_the_last_piece_can_be_reserved(stage: Stage) -> None:
    (told,) = hear(stage, placed(items={"product-3": 5}))

    assert isinstance(told, StockReserved)
    assert stock(stage)["product-3"] == (0, 5)


def test_an_order_for_too_much_reserves_no_line_and_tells_what_is_missing(stage: Stage) -> None:
    (told,) = hear(stage, placed(items={"product-1": 2, "product-3": 6}))

    assert isinstance(told, StockRanShort)
    assert (told.order_id, dict(told.missing)) == ("ORD-1", {"product-3": 1})
    assert stock(stage) == TO_BEGIN_WITH


def test_an_unknown_product_is_missing_wholly(stage: Stage) -> None:
    (told,) = hear(stage, placed(items={"product-1": 1, "nothing-such": 7}))

    assert isinstance(told, StockRanShort)
    assert dict(told.missing) == {"nothing-such": 7}


def test_orders_of_one_batch_share_what_there_is_in_their_order(stage: Stage) -> None:
    orders = [placed(f"ORD-{number}", items={"product-3": 2}) for number in range(4)]

    told = hear(stage, *orders)

    assert [type(each) for each in told] == [StockReserved] * 2 + [StockRanShort] * 2
    assert [dict(each.missing) for each in told[2:]] == [{"product-3": 1}] * 2
    assert stock(stage)["product-3"] == (1, 4)


def test_a_cancelled_order_gives_back_what_it_held(stage: Stage) -> None:
    hear(stage, placed(items={"product-3": 5}))

    told = hear(stage, cancelled())

    assert told == []
    assert stock(stage) == TO_BEGIN_WITH


def test_what_was_given_back_is_there_for_the_next_order_of_the_batch(stage: Stage) -> None:
    hear(stage, placed("ORD-1", items={"product-3": 5}))

    (told,) = hear(stage, cancelled("ORD-1"), placed("ORD-2", items={"product-3": 5}))

    assert isinstance(told, StockReserved)
    assert stock(stage)["product-3"] == (0, 5)


@pytest.mark.parametrize("concurrency", [True, False], ids=["one batch", "one by one"])
def test_an_order_that_was_cancelled_before_it_came_holds_nothing(
    stage: Stage, *, concurrency: bool
) -> None:
    told = play(stage, [cancelled(), placed()], as_batch=concurrency)

    assert told == []
    assert stock(stage) == TO_BEGIN_WITH


def test_an_order_that_ran_short_has_nothing_to_give_back(stage: Stage) -> None:
    hear(stage, placed(items={"product-3": 6}))

    hear(stage, cancelled())

    assert stock(stage) == TO_BEGIN_WITH


def test_what_was_done_is_said_in_a_few_words(stage: Stage) -> None:
    many = {f"product-{number}": 1 for number in range(10, 110)}
    stage.publish(placed("ORD-1"), placed("ORD-2", items=many), cancelled("ORD-1"))

    notes = [note for each in stage.play() for note in each.notes]

    assert notes == [
        "2 × product-1, 1 × product-2 put aside",
        "1 × product-10, 1 × product-11, 1 × product-12 and 97 more missing",
        "2 × product-1, 1 × product-2 given back",
    ]


@settings(max_examples=80, deadline=None)
@given(arrival=arrivals())
def test_any_arrival_of_a_history_ends_in_the_same_stock(
    full_stage: Stage, arrival: Arrival
) -> None:
    before = stock(full_stage)
    pieces = 10_000 if "short" in arrival.kinds else 1
    product = "product-3" if "short" in arrival.kinds else "product-1"
    facts = arrival.facts(a_new_order(), items={product: pieces})

    told = arrival.play(full_stage, facts)

    available, held = before[product]
    ends_reserved = not {"short", "cancelled"} & set(arrival.kinds)
    after = (available - pieces, held + pieces) if ends_reserved else (available, held)
    assert stock(full_stage) == before | {product: after}
    if arrival.is_first("cancelled", "placed"):
        assert told == []
    else:
        expected = StockRanShort if "short" in arrival.kinds else StockReserved
        assert [type(each) for each in told] == [expected]
