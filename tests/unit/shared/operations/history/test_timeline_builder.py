from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Impossible, TransientFailure
from shared.events import OrderPlaced
from shared.operations.dead_letters.dead_queue import DeadQueue
from shared.operations.dead_letters.retry import retry
from shared.runtime.service import AnyService, Service
from shared.storage import inbox
from shared.storage.unit_of_work import Store
from shared.testing import Stage
from shop import registry
from tests.support.histories import cancelled, placed
from tests.support.stories import forget, outcome, pay, place, story, types

LONG_AGO = datetime.now(UTC) - timedelta(days=1)


class Moody:
    """Fails as it is told."""

    error: type[Exception] | None = None

    def __call__(self, event: OrderPlaced, work: Any) -> None:
        del event, work
        if self.error is not None:
            raise self.error


@pytest.fixture
def moody() -> Moody:
    return Moody()


@pytest.fixture
def stage(tmp_path: Path, moody: Moody) -> Iterator[Stage]:
    odd: AnyService = Service("odd", store=Store)
    odd.on(OrderPlaced, moody)
    of_the_shop = [each for each in registry.all_services() if each.name != "email"]
    stage = Stage(tmp_path, [*of_the_shop, odd])
    yield stage
    stage.close()


def test_every_event_is_told_in_order_of_time_with_its_cause(stage: Stage) -> None:
    place(stage)
    stage.play()
    pay(stage)
    stage.play()

    told = story(stage)

    assert types(told) == [
        "order.placed.v1",
        "stock.reserved.v1",
        "payment.received.v1",
        "order.shipped.v1",
    ]
    assert [each.cause and each.cause.type for each in told.entries] == [
        None,
        "order.placed.v1",
        None,
        "payment.received.v1",
    ]
    assert [each.depth for each in told.entries] == [0, 1, 0, 1]
    assert told.notes == []


def test_each_service_that_subscribed_is_told_and_no_other(stage: Stage) -> None:
    place(stage)
    stage.play()

    told = story(stage)

    names = {each.service for each in told.entries[0].reactions}
    assert names >= {"inventory", "shipping", "loyalty", "analytics", "odd"}
    assert "orders" not in names
    assert {each.outcome for each in told.entries[0].reactions} == {"handled"}
    assert all((each.after or 0) >= 0 for each in told.entries[0].reactions)


def test_another_orders_events_are_not_told(stage: Stage) -> None:
    place(stage)
    place(stage, "ORD-2")
    stage.play()

    assert len(story(stage, "ORD-2").entries) == 2


def test_what_was_not_sent_yet_is_told_as_such(stage: Stage) -> None:
    place(stage)

    told = story(stage)

    assert types(told) == ["order.placed.v1"]
    assert not told.entries[0].is_sent
    assert {each.outcome for each in told.entries[0].reactions} == {"waiting"}


def test_what_lies_in_a_services_queue_waits_for_it(stage: Stage) -> None:
    stage.publish(placed("ORD-1", occurred_at=LONG_AGO))
    stage.react("analytics")

    assert outcome(story(stage), "odd").outcome == "waiting"


def test_what_nothing_waits_for_any_more_is_unknown_to_who_joined_later_or_has_forgotten(
    stage: Stage,
) -> None:
    stage.publish(placed("ORD-1", occurred_at=LONG_AGO))
    stage.play()
    forget(stage, "odd")

    told = story(stage)

    assert outcome(told, "odd").outcome == "unknown"
    assert outcome(told, "loyalty").outcome == "handled"


def test_what_happened_just_now_may_be_in_hand_and_waits(stage: Stage) -> None:
    stage.publish(placed("ORD-1"))
    stage.play()
    forget(stage, "odd")

    assert outcome(story(stage), "odd").outcome == "waiting"


def test_where_the_broker_cannot_be_asked_what_waits_it_is_said(stage: Stage) -> None:
    stage.publish(placed("ORD-1", occurred_at=LONG_AGO))
    stage.play()
    forget(stage, "odd")

    told = story(stage, broker=False)

    assert outcome(told, "odd").outcome == "waiting"
    assert told.notes == ["whether anything waits for odd is unknown: the broker cannot be reached"]


def test_what_failed_and_comes_again_says_how_often_and_why(stage: Stage, moody: Moody) -> None:
    moody.error = TransientFailure
    place(stage)
    stage.play()
    stage.clock.now += 10
    stage.play()

    found = outcome(story(stage), "odd")

    assert found.outcome == "retrying"
    assert [each.error for each in found.attempts] == ["TransientFailure"] * 2


def test_what_went_well_after_failures_says_both(stage: Stage, moody: Moody) -> None:
    moody.error = TransientFailure
    place(stage)
    stage.play()
    moody.error = None
    stage.clock.now += 10
    stage.play()

    found = outcome(story(stage), "odd")

    assert found.outcome == "handled"
    assert len(found.attempts) == 1


def test_what_is_dead_says_of_what(stage: Stage, moody: Moody) -> None:
    moody.error = Impossible
    place(stage)
    stage.play()

    found = outcome(story(stage), "odd")

    assert found.outcome == "dead"
    assert found.attempts[-1].error == "Impossible"


def test_what_was_dead_and_is_under_way_again_is_told_as_sent_again(
    stage: Stage, moody: Moody
) -> None:
    moody.error = Impossible
    place(stage)
    stage.play()

    retry(DeadQueue(stage.services["odd"], stage.broker, stage.databases["odd"]))

    found = outcome(story(stage), "odd")
    assert found.outcome == "sent again"
    assert found.attempts[-1].error == "Impossible"


@pytest.mark.parametrize(
    ("error", "then"),
    [(None, "handled"), (TransientFailure, "retrying"), (Impossible, "dead")],
    ids=["well", "failing", "dead"],
)
def test_what_was_sent_again_is_told_by_what_became_of_it(
    stage: Stage, moody: Moody, error: type[Exception] | None, then: str
) -> None:
    moody.error = Impossible
    place(stage)
    stage.play()
    retry(DeadQueue(stage.services["odd"], stage.broker, stage.databases["odd"]))
    moody.error = error

    stage.play()

    assert outcome(story(stage), "odd").outcome == then


def test_what_a_person_discarded_is_told_as_discarded(stage: Stage) -> None:
    event = placed("ORD-1")
    with stage.databases["odd"].begin() as connection:
        inbox.enter(connection, [event], outcome=inbox.DISCARDED)
    stage.publish(event)
    stage.play()

    assert outcome(story(stage), "odd").outcome == "discarded"


def test_a_database_that_cannot_be_seen_is_named_not_omitted(stage: Stage) -> None:
    place(stage)
    stage.play()

    told = story(stage, closed="loyalty")

    assert told.notes == ["loyalty cannot be seen: the secrets cannot be read here"]
    assert outcome(told, "loyalty").outcome == "unseen"
    assert outcome(told, "odd").outcome == "handled"


def test_without_analytics_the_history_is_read_and_it_is_said(stage: Stage) -> None:
    place(stage)
    stage.play()

    told = story(stage, closed="analytics")

    assert types(told) == ["order.placed.v1", "stock.reserved.v1"]
    assert told.entries[1].depth == 1
    assert told.notes[-1] == (
        "no service that keeps envelopes can be seen: the history was read instead"
    )


def test_what_analytics_has_not_heard_of_yet_is_read_in_the_history(stage: Stage) -> None:
    first, second = placed("ORD-1"), cancelled("ORD-1")
    stage.publish(first)
    stage.play()
    stage.publish(second)
    stage.react("loyalty")

    told = story(stage)

    assert types(told) == ["order.placed.v1", "order.cancelled.v1", "stock.reserved.v1"]
    assert told.notes == [
        "analytics has not heard of 1 of its events yet: the history was read instead"
    ]


def test_with_neither_analytics_nor_broker_it_tells_what_the_services_know(stage: Stage) -> None:
    place(stage)
    stage.play()

    told = story(stage, closed="analytics", broker=False)

    assert types(told) == ["order.placed.v1", "stock.reserved.v1"]
    assert told.notes[-1] == (
        "no service that keeps envelopes can be seen, and the history cannot be read: "
        "the broker cannot be reached"
    )
    assert not told.is_certain


def test_nobody_has_heard_of_an_order_that_there_is_not(stage: Stage) -> None:
    told = story(stage, "ORD-404")

    assert told.entries == []
    assert told.is_certain
    assert told.notes == ["analytics knows no event of it: the history was read instead"]
