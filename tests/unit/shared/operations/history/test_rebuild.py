from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from services.analytics.service import analytics
from services.inventory.service import inventory
from services.loyalty.handlers import award_points, take_points_back
from services.loyalty.service import loyalty
from services.loyalty.store import LoyaltyStore
from services.loyalty.tables import awards
from shared.errors import Impossible, InvalidInput, OperationFailed, TransientFailure
from shared.events import OrderCancelled, OrderPlaced
from shared.history.reading import UnreadableRecord
from shared.messaging.ports.consumer import Outcome
from shared.operations.dead_letters.dead_queue import DeadQueue
from shared.operations.dead_letters.retry import retry
from shared.operations.history.rebuild import Rebuild, RebuildResult, require_rebuildable
from shared.runtime.service import AnyService, Service
from shared.storage import checkpoints, inbox, table_digests
from shared.storage.tables import inbox as inbox_table
from shared.testing import Stage
from tests.support.deliveries import entry_of
from tests.support.order_events import cancelled, placed

BAD = "ORD-BAD"


class InjectedError:
    """The error that the service's handler raises for one order, if any."""

    error: type[Exception] | None = None


@pytest.fixture
def injected() -> InjectedError:
    return InjectedError()


@pytest.fixture
def stage(tmp_path: Path, injected: InjectedError) -> Iterator[Stage]:
    def award(event: OrderPlaced, work: Any) -> None:
        if event.order_id == BAD and injected.error is not None:
            raise injected.error
        award_points(event, work)

    service = Service("example", store=LoyaltyStore)
    service.on(OrderPlaced, award)
    service.on(OrderCancelled, take_points_back)
    stage = Stage(tmp_path, [service])
    yield stage
    stage.close()


def rebuild(stage: Stage, **changes: Any) -> RebuildResult:
    parts: dict[str, Any] = {
        "service": stage.services["example"],
        "database": stage.databases["example"],
        "broker": stage.broker,
        "history": stage.broker.history(),
        "batch_size": 3,
        "on_progress": lambda _next_offset, _end: None,
        "on_unreadable": lambda _: None,
    }
    return Rebuild(**parts | changes).run()


def state(stage: Stage) -> Any:
    with stage.databases["example"].read() as connection:
        return table_digests.digests(connection)


def handled(stage: Stage) -> dict[str, str]:
    with stage.databases["example"].read() as connection:
        columns = inbox_table.c.subject, inbox_table.c.outcome
        return {str(row[0]): row[1] for row in connection.execute(select(*columns))}


def test_a_rebuilt_service_has_the_same_state_as_before(stage: Stage) -> None:
    stage.publish(*[placed(f"ORD-{number}") for number in range(10)], cancelled("ORD-3"))
    stage.play()
    before = state(stage)

    result = rebuild(stage)

    assert result.is_identical
    assert result.handled == 11
    assert result.differences == []
    assert state(stage) == before
    assert len(handled(stage)) == 10


def test_a_row_that_no_event_made_is_gone_after_a_rebuild_and_reported(stage: Stage) -> None:
    stage.publish(placed("ORD-1"))
    stage.play()
    with stage.databases["example"].begin() as connection:
        connection.execute(insert(awards).values(order_id="FORGED", points=1_000_000))

    result = rebuild(stage)

    assert not result.is_identical
    assert result.differences == ["awards: 2 rows before, 1 row now"]


def test_a_row_that_was_tampered_with_is_reported_if_the_count_is_the_same(stage: Stage) -> None:
    stage.publish(placed("ORD-1"))
    stage.play()
    with stage.databases["example"].begin() as connection:
        connection.execute(awards.update().values(points=1_000_000))

    result = rebuild(stage)

    assert result.differences == ["awards: 1 row before, 1 row now, with different content"]


def test_a_message_in_the_queue_is_a_duplicate_after_a_rebuild(stage: Stage) -> None:
    stage.publish(placed("ORD-1"))
    stage.play()
    stage.publish(placed("ORD-2"))

    result = rebuild(stage)

    assert result.differences == ["awards: 1 row before, 2 rows now"]
    assert [each.duplicate for each in stage.play()] == [True]


def test_a_discarded_event_stays_discarded(stage: Stage) -> None:
    event = placed("ORD-1")
    with stage.databases["example"].begin() as connection:
        inbox.enter(connection, [entry_of(event)], outcome=inbox.DISCARDED)
    stage.publish(event, placed("ORD-2"))
    stage.play()

    result = rebuild(stage)

    assert result.is_identical
    assert (result.handled, result.unchanged) == (1, 1)
    assert handled(stage) == {"ORD-1": "discarded", "ORD-2": "handled"}


def test_a_dead_event_stays_dead_and_is_not_sent_to_the_queue(
    stage: Stage, injected: InjectedError
) -> None:
    injected.error = Impossible
    stage.publish(placed(BAD), placed("ORD-2"))
    stage.play(errors="collect")

    result = rebuild(stage)

    assert result.is_identical
    assert (result.handled, result.unchanged, result.queued) == (1, 1, 0)
    assert stage.play() == []


def test_a_redriven_event_is_handled_by_a_rebuild(stage: Stage, injected: InjectedError) -> None:
    injected.error = Impossible
    stage.publish(placed(BAD))
    stage.play(errors="collect")
    retry(DeadQueue(stage.services["example"], stage.broker, stage.databases["example"]))
    injected.error = None

    result = rebuild(stage)

    assert (result.handled, result.unchanged) == (1, 0)
    assert [each.duplicate for each in stage.play()] == [True]


@pytest.mark.parametrize("error", [Impossible, TransientFailure, ValueError])
def test_an_event_that_fails_goes_to_the_services_queue_and_is_not_lost(
    stage: Stage, injected: InjectedError, error: type[Exception]
) -> None:
    stage.publish(placed(BAD), placed("ORD-2"))
    stage.play()
    injected.error = error

    result = rebuild(stage)

    assert (result.handled, result.queued) == (1, 1)
    injected.error = None
    assert [each.outcome for each in stage.play()] == [Outcome.DONE]
    assert handled(stage) == {BAD: "handled", "ORD-2": "handled"}


def test_an_unreadable_record_is_reported_and_the_rebuild_continues(stage: Stage) -> None:
    stage.publish(placed("ORD-1"), placed("ORD-2"))
    with stage.broker._file.opened() as connection:
        connection.execute("UPDATE history SET body = x'7b' WHERE number = 1")
    unreadable: list[UnreadableRecord] = []

    result = rebuild(stage, on_unreadable=unreadable.append)

    assert (result.handled, result.unreadable) == (1, 1)
    assert unreadable[0].label.endswith("at offset 0")


class Killed(BaseException):
    """The process ends here."""


def test_a_rebuild_that_ends_early_leaves_a_checkpoint_to_continue_from(stage: Stage) -> None:
    stage.publish(*[placed(f"ORD-{number}") for number in range(10)])
    stage.play()

    def stop_at_6(next_offset: int, _: int) -> None:
        if next_offset == 6:
            raise Killed

    with pytest.raises(Killed):
        rebuild(stage, on_progress=stop_at_6)

    with stage.databases["example"].read() as connection:
        checkpoint = checkpoints.find(connection)
    assert checkpoint == checkpoints.Checkpoint(6, 10, is_complete=False)
    assert len(handled(stage)) == 6


def test_a_service_that_publishes_is_refused(stage: Stage) -> None:
    with pytest.raises(InvalidInput, match=r"inventory publishes stock\.ran_short"):
        require_rebuildable(inventory, stage.broker, stage.broker.history())


def test_a_running_service_is_refused(stage: Stage) -> None:
    service = stage.services["example"]
    stage.publish(placed("ORD-1"))
    require_rebuildable(service, stage.broker, stage.broker.history())
    consumer = stage.broker.consumer("example", prefetch=1)
    consumer.take(1, wait=0)

    with pytest.raises(OperationFailed, match="example is running"):
        require_rebuildable(service, stage.broker, stage.broker.history())


def test_an_empty_history_is_refused(stage: Stage) -> None:
    with pytest.raises(OperationFailed, match="example would be emptied and stay empty"):
        require_rebuildable(stage.services["example"], stage.broker, stage.broker.history())


@pytest.mark.parametrize("service", [loyalty, analytics], ids=["loyalty", "analytics"])
def test_a_service_without_side_effects_can_be_rebuilt(tmp_path: Path, service: AnyService) -> None:
    stage = Stage(tmp_path, [service])
    stage.publish(placed("ORD-1"))

    require_rebuildable(service, stage.broker, stage.broker.history())

    stage.close()
