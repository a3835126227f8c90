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
from tests.support.deliveries import entry_of
from tests.support.order_events import cancelled, placed
from tests.support.timelines import clear_inbox, pay, place, reaction, timeline_of, types

LONG_AGO = datetime.now(UTC) - timedelta(days=1)


class SwitchableHandler:
    """Raises `error`, if it is set."""

    error: type[Exception] | None = None

    def __call__(self, event: OrderPlaced, work: Any) -> None:
        del event, work
        if self.error is not None:
            raise self.error


@pytest.fixture
def handler() -> SwitchableHandler:
    return SwitchableHandler()


@pytest.fixture
def stage(tmp_path: Path, handler: SwitchableHandler) -> Iterator[Stage]:
    extra: AnyService = Service("extra", store=Store)
    extra.on(OrderPlaced, handler)
    services = [each for each in registry.all_services() if each.name != "email"]
    stage = Stage(tmp_path, [*services, extra])
    yield stage
    stage.close()


def test_events_are_in_order_of_time_with_their_causes(stage: Stage) -> None:
    place(stage)
    stage.play(errors="collect")
    pay(stage)
    stage.play(errors="collect")

    timeline = timeline_of(stage)

    assert types(timeline) == [
        "order.placed.v1",
        "stock.reserved.v1",
        "payment.received.v1",
        "order.shipped.v1",
    ]
    assert [entry.cause and entry.cause.type for entry in timeline.entries] == [
        None,
        "order.placed.v1",
        None,
        "payment.received.v1",
    ]
    assert [entry.depth for entry in timeline.entries] == [0, 1, 0, 1]
    assert timeline.notes == []


def test_each_subscriber_has_a_reaction_and_no_other_service(stage: Stage) -> None:
    place(stage)
    stage.play(errors="collect")

    timeline = timeline_of(stage)

    names = {each.service for each in timeline.entries[0].reactions}
    assert names >= {"inventory", "shipping", "loyalty", "analytics", "extra"}
    assert "orders" not in names
    assert {each.outcome for each in timeline.entries[0].reactions} == {"handled"}
    assert all((each.after or 0) >= 0 for each in timeline.entries[0].reactions)


def test_events_of_another_order_are_left_out(stage: Stage) -> None:
    place(stage)
    place(stage, "ORD-2")
    stage.play(errors="collect")

    assert len(timeline_of(stage, "ORD-2").entries) == 2


def test_an_event_in_the_outbox_is_marked_as_not_sent(stage: Stage) -> None:
    place(stage)

    timeline = timeline_of(stage)

    assert types(timeline) == ["order.placed.v1"]
    assert not timeline.entries[0].is_sent
    assert {each.outcome for each in timeline.entries[0].reactions} == {"waiting"}


def test_an_event_in_a_services_queue_is_waiting(stage: Stage) -> None:
    stage.publish(placed("ORD-1", occurred_at=LONG_AGO))
    stage.react("analytics", errors="collect")

    assert reaction(timeline_of(stage), "extra").outcome == "waiting"


def test_an_old_event_without_record_is_unknown_if_the_queues_are_empty(
    stage: Stage,
) -> None:
    stage.publish(placed("ORD-1", occurred_at=LONG_AGO))
    stage.play(errors="collect")
    clear_inbox(stage, "extra")

    timeline = timeline_of(stage)

    assert reaction(timeline, "extra").outcome == "unknown"
    assert reaction(timeline, "loyalty").outcome == "handled"


def test_a_recent_event_without_record_is_waiting_if_the_queues_are_empty(stage: Stage) -> None:
    stage.publish(placed("ORD-1"))
    stage.play(errors="collect")
    clear_inbox(stage, "extra")

    assert reaction(timeline_of(stage), "extra").outcome == "waiting"


def test_queues_that_cannot_be_read_are_noted(stage: Stage) -> None:
    stage.publish(placed("ORD-1", occurred_at=LONG_AGO))
    stage.play(errors="collect")
    clear_inbox(stage, "extra")

    timeline = timeline_of(stage, broker=False)

    assert reaction(timeline, "extra").outcome == "waiting"
    assert timeline.notes == ["the queues of extra cannot be read: the broker cannot be reached"]


def test_an_event_that_is_retried_has_its_failed_attempts(
    stage: Stage, handler: SwitchableHandler
) -> None:
    handler.error = TransientFailure
    place(stage)
    stage.play(errors="collect")
    stage.clock.now += 10
    stage.play(errors="collect")

    result = reaction(timeline_of(stage), "extra")

    assert result.outcome == "retrying"
    assert [each.error for each in result.attempts] == ["TransientFailure"] * 2


def test_an_event_that_was_handled_after_a_failure_has_its_failed_attempt(
    stage: Stage, handler: SwitchableHandler
) -> None:
    handler.error = TransientFailure
    place(stage)
    stage.play(errors="collect")
    handler.error = None
    stage.clock.now += 10
    stage.play(errors="collect")

    result = reaction(timeline_of(stage), "extra")

    assert result.outcome == "handled"
    assert len(result.attempts) == 1


def test_a_dead_event_has_its_error(stage: Stage, handler: SwitchableHandler) -> None:
    handler.error = Impossible
    place(stage)
    stage.play(errors="collect")

    result = reaction(timeline_of(stage), "extra")

    assert result.outcome == "dead"
    assert result.attempts[-1].error == "Impossible"


def test_a_redriven_event_that_is_not_handled_yet_is_sent_again(
    stage: Stage, handler: SwitchableHandler
) -> None:
    handler.error = Impossible
    place(stage)
    stage.play(errors="collect")

    retry(DeadQueue(stage.services["extra"], stage.broker, stage.databases["extra"]))

    result = reaction(timeline_of(stage), "extra")
    assert result.outcome == "sent again"
    assert result.attempts[-1].error == "Impossible"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(None, "handled"), (TransientFailure, "retrying"), (Impossible, "dead")],
    ids=["handled", "retrying", "dead"],
)
def test_a_redriven_event_has_the_outcome_of_its_last_attempt(
    stage: Stage, handler: SwitchableHandler, error: type[Exception] | None, outcome: str
) -> None:
    handler.error = Impossible
    place(stage)
    stage.play(errors="collect")
    retry(DeadQueue(stage.services["extra"], stage.broker, stage.databases["extra"]))
    handler.error = error

    stage.play(errors="collect")

    assert reaction(timeline_of(stage), "extra").outcome == outcome


def test_a_discarded_event_is_discarded(stage: Stage) -> None:
    event = placed("ORD-1")
    with stage.databases["extra"].begin() as connection:
        inbox.enter(connection, [entry_of(event)], outcome=inbox.DISCARDED)
    stage.publish(event)
    stage.play(errors="collect")

    assert reaction(timeline_of(stage), "extra").outcome == "discarded"


def test_a_database_that_cannot_be_read_is_noted_and_its_service_unseen(stage: Stage) -> None:
    place(stage)
    stage.play(errors="collect")

    timeline = timeline_of(stage, unreadable="loyalty")

    assert timeline.notes == ["loyalty cannot be read: the secrets cannot be read here"]
    assert reaction(timeline, "loyalty").outcome == "unseen"
    assert reaction(timeline, "extra").outcome == "handled"


def test_without_analytics_the_history_is_read_and_noted(stage: Stage) -> None:
    place(stage)
    stage.play(errors="collect")

    timeline = timeline_of(stage, unreadable="analytics")

    assert types(timeline) == ["order.placed.v1", "stock.reserved.v1"]
    assert timeline.entries[1].depth == 1
    assert timeline.notes[-1] == (
        "no service that stores envelopes can be read: the history was read instead"
    )


def test_an_event_that_analytics_lacks_is_read_from_the_history(stage: Stage) -> None:
    first, second = placed("ORD-1"), cancelled("ORD-1")
    stage.publish(first)
    stage.play(errors="collect")
    stage.publish(second)
    stage.react("loyalty", errors="collect")

    timeline = timeline_of(stage)

    assert types(timeline) == ["order.placed.v1", "order.cancelled.v1", "stock.reserved.v1"]
    assert timeline.notes == [
        "analytics has not handled 1 of the events yet: the history was read instead"
    ]


def test_without_analytics_and_broker_the_events_are_those_that_other_services_know(
    stage: Stage,
) -> None:
    place(stage)
    stage.play(errors="collect")

    timeline = timeline_of(stage, unreadable="analytics", broker=False)

    assert types(timeline) == ["order.placed.v1", "stock.reserved.v1"]
    assert timeline.notes[-1] == (
        "no service that stores envelopes can be read, and the history cannot be read: "
        "the broker cannot be reached"
    )
    assert not timeline.is_certain


def test_an_order_that_does_not_exist_has_no_entries(stage: Stage) -> None:
    timeline = timeline_of(stage, "ORD-404")

    assert timeline.entries == []
    assert timeline.is_certain
    assert timeline.notes == ["analytics has no event of this order: the history was read instead"]


def test_an_event_from_the_future_is_handled_and_marked(stage: Stage) -> None:
    ahead = placed("ORD-1", occurred_at=datetime.now(UTC) + timedelta(hours=2))
    stage.publish(ahead)
    stage.play(errors="collect")  # orders did not place it

    timeline = timeline_of(stage)

    result = reaction(timeline, "analytics")
    assert (result.outcome, result.after) == ("handled", None)
    assert result.clock_difference == pytest.approx(7200, abs=120)
    first, *others = timeline.entries
    assert first.from_future == pytest.approx(7200, abs=120)
    caused = [each for each in others if each.cause == first.envelope]
    assert caused
    assert all(each.before_cause == pytest.approx(7200, abs=120) for each in caused)
