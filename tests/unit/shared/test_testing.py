"""What tests of services are given: examples, and a stage that shows errors."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.events import DomainEvent, OrderPlaced
from shared.storage.unit_of_work import UnitOfWork
from shared.testing import Stage, example
from tests.support.counting import CountStore, ThingHappened, counting


def test_an_example_is_a_new_event_with_the_fields_of_the_published_one() -> None:
    first, second = example(OrderPlaced), example(OrderPlaced)

    assert (first.order_id, first.items) == ("ORD-123", {"product-1": 2, "product-2": 1})
    assert first.event_id != second.event_id


def test_the_changed_fields_of_an_example_are_validated() -> None:
    assert example(OrderPlaced, order_id="ORD-7").order_id == "ORD-7"
    with pytest.raises(ValueError, match="order_id"):
        example(OrderPlaced, order_id="ORD 7")


def test_a_class_that_is_no_contract_has_no_example() -> None:
    with pytest.raises(IndexError):
        example(DomainEvent)


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Stage]:
    """A stage whose service has a handler that fails with the name of the thing."""

    def fail(event: ThingHappened, _work: UnitOfWork[CountStore]) -> None:
        raise KeyError(event.name)

    stage = Stage(tmp_path, [counting(fail)])
    yield stage
    stage.close()


def test_a_stage_raises_the_error_of_a_handler_with_its_stack(broken: Stage) -> None:
    broken.publish(ThingHappened(name="a"), ThingHappened(name="b"))

    with pytest.raises(KeyError, match="a") as raised:
        broken.play()

    frames = [(each.path, each.name) for each in raised.traceback]
    assert (Path(__file__), "fail") in frames
    [note] = raised.value.__notes__
    assert note.startswith("counting failed to handle thing.happened.v1 at attempt 1; 1 more")


def test_a_stage_that_raised_has_settled_the_delivery(broken: Stage) -> None:
    broken.publish(ThingHappened(name="a"))
    with pytest.raises(KeyError):
        broken.react("counting")

    assert broken.play() == []
    broken.clock.now += 3600
    [again] = broken.play(errors="collect")
    assert again.delivery.attempt == 2


def test_a_stage_can_collect_errors(broken: Stage) -> None:
    broken.publish(ThingHappened(name="a"), ThingHappened(name="b"))

    results = broken.play(errors="collect")

    assert [type(each.error) for each in results] == [KeyError, KeyError]
