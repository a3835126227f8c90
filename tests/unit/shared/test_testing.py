"""What tests of services are given: examples, and a stage that shows errors."""

from collections.abc import Iterator
from email.headerregistry import Address
from pathlib import Path

import pytest

from services.email.mailer import Mailer
from services.email.service import email
from services.orders.placing import place_order
from services.orders.service import orders
from shared.errors import DependencyUnavailable
from shared.events import DomainEvent, OrderPlaced
from shared.storage.database import Database
from shared.storage.unit_of_work import UnitOfWork
from shared.testing import Stage, example, recording
from tests.support.counting import CountStore, ThingHappened, counting
from tests.unit.services.orders.samples import new_order, place


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


class ClosedPostOffice:
    """A mail server that is away."""

    place = "the post office"

    def send(self, _mail: object) -> None:
        self.probe()

    def probe(self) -> None:
        raise DependencyUnavailable("the post office is closed")

    def close(self) -> None:
        pass


def test_a_broken_environment_is_said_and_the_messages_stay(tmp_path: Path) -> None:
    mailer = Mailer(ClosedPostOffice(), sender=Address("Shop", "orders", "shop.example"))
    stage = Stage(tmp_path, [email], gateway={"email": mailer})
    stage.publish(example(OrderPlaced))

    with pytest.raises(DependencyUnavailable, match="the post office is closed"):
        stage.play()

    assert stage.broker.depth("email").ready == 1
    stage.close()


def test_what_was_rolled_back_is_not_recorded(tmp_path: Path) -> None:
    stage = Stage(tmp_path, [orders])
    database = stage.databases["orders"]

    with recording() as published:
        with pytest.raises(ZeroDivisionError):
            place_and_fail(database)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sqlalchemy.engine.base.RootTransaction.commit", fail)
            with pytest.raises(RuntimeError):
                place(database, order_id="ORD-2")
        with orders.unit_of_work(database) as work:
            place_order(new_order(order_id="ORD-3"), work)
            assert published == []

    assert [event.order_id for event in published] == ["ORD-3"]
    stage.close()


def place_and_fail(database: Database) -> None:
    with orders.unit_of_work(database) as work:
        place_order(new_order(order_id="ORD-1"), work)
        raise ZeroDivisionError


def fail(_transaction: object) -> None:
    raise RuntimeError("the commit failed")


def test_recordings_within_one_another_record_alike(tmp_path: Path) -> None:
    stage = Stage(tmp_path, [orders])

    with recording() as outer, recording() as inner:
        place(stage.databases["orders"])
    place(stage.databases["orders"], order_id="ORD-4")

    assert [event.order_id for event in outer] == ["ORD-123"]
    assert inner == outer
    stage.close()


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
