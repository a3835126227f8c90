from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from services.inventory.service import inventory
from services.loyalty.handlers import award_points, take_points_back
from services.loyalty.service import loyalty
from services.loyalty.store import LoyaltyStore
from services.loyalty.tables import awards
from shared.errors import Impossible, InvalidInput, OperationFailed, TransientFailure
from shared.events import OrderCancelled, OrderPlaced
from shared.history.reading import Unreadable
from shared.messaging.ports.consumer import Outcome
from shared.operations.dead_letters.dead_queue import DeadQueue
from shared.operations.dead_letters.retry import retry
from shared.operations.history.rebuild import Rebuild, RebuildResult, require_rebuildable
from shared.runtime.service import Service
from shared.storage import checkpoints, inbox, table_digests
from shared.storage.tables import inbox as inbox_table
from shared.testing import Stage
from tests.support.histories import cancelled, placed

BAD = "ORD-BAD"


class Mood:
    """What the service under test does with one order."""

    error: type[Exception] | None = None


@pytest.fixture
def mood() -> Mood:
    return Mood()


@pytest.fixture
def stage(tmp_path: Path, mood: Mood) -> Iterator[Stage]:
    def award(event: OrderPlaced, work: Any) -> None:
        if event.order_id == BAD and mood.error is not None:
            raise mood.error
        award_points(event, work)

    service = Service("moody", store=LoyaltyStore)
    service.on(OrderPlaced, award)
    service.on(OrderCancelled, take_points_back)
    stage = Stage(tmp_path, [service])
    yield stage
    stage.close()


def rebuild(stage: Stage, **differing: Any) -> RebuildResult:
    parts: dict[str, Any] = {
        "service": stage.services["moody"],
        "database": stage.databases["moody"],
        "broker": stage.broker,
        "batch_size": 3,
        "watch": lambda _place, _end: None,
        "tell": lambda _: None,
    }
    return Rebuild(**parts | differing).run()


def state(stage: Stage) -> Any:
    with stage.databases["moody"].read() as connection:
        return table_digests.digests(connection)


def handled(stage: Stage) -> dict[str, str]:
    with stage.databases["moody"].read() as connection:
        columns = inbox_table.c.subject, inbox_table.c.outcome
        return {str(row[0]): row[1] for row in connection.execute(select(*columns))}


def test_a_rebuilt_service_is_exactly_as_it_was(stage: Stage) -> None:
    stage.publish(*[placed(f"ORD-{number}") for number in range(10)], cancelled("ORD-3"))
    stage.play()
    before = state(stage)

    rebuilt = rebuild(stage)

    assert rebuilt.is_as_it_was
    assert rebuilt.handled == 11
    assert rebuilt.differences == []
    assert state(stage) == before
    assert len(handled(stage)) == 10


def test_what_was_never_said_is_gone_after_a_rebuild_and_it_says_so(stage: Stage) -> None:
    stage.publish(placed("ORD-1"))
    stage.play()
    with stage.databases["moody"].begin() as connection:
        connection.execute(insert(awards).values(order_id="FORGED", points=1_000_000))

    rebuilt = rebuild(stage)

    assert not rebuilt.is_as_it_was
    assert rebuilt.differences == ["awards: 2 rows before, 1 row now"]


def test_a_row_that_was_tampered_with_is_told_though_the_count_is_the_same(stage: Stage) -> None:
    stage.publish(placed("ORD-1"))
    stage.play()
    with stage.databases["moody"].begin() as connection:
        connection.execute(awards.update().values(points=1_000_000))

    rebuilt = rebuild(stage)

    assert rebuilt.differences == ["awards: 1 row before, 1 row now, and not the same ones"]


def test_what_waits_in_the_queue_is_a_duplicate_after_a_rebuild(stage: Stage) -> None:
    stage.publish(placed("ORD-1"))
    stage.play()
    stage.publish(placed("ORD-2"))

    rebuilt = rebuild(stage)

    assert rebuilt.differences == ["awards: 1 row before, 2 rows now"]
    assert [each.duplicate for each in stage.play()] == [True]


def test_what_was_discarded_stays_discarded(stage: Stage) -> None:
    event = placed("ORD-1")
    with stage.databases["moody"].begin() as connection:
        inbox.enter(connection, [event], outcome=inbox.DISCARDED)
    stage.publish(event, placed("ORD-2"))
    stage.play()

    rebuilt = rebuild(stage)

    assert rebuilt.is_as_it_was
    assert (rebuilt.handled, rebuilt.known) == (1, 1)
    assert handled(stage) == {"ORD-1": "discarded", "ORD-2": "handled"}


def test_what_is_dead_stays_dead_and_is_not_brought_to_the_queue_again(
    stage: Stage, mood: Mood
) -> None:
    mood.error = Impossible
    stage.publish(placed(BAD), placed("ORD-2"))
    stage.play()

    rebuilt = rebuild(stage)

    assert rebuilt.is_as_it_was
    assert (rebuilt.handled, rebuilt.known, rebuilt.left) == (1, 1, 0)
    assert stage.play() == []


def test_what_was_dead_and_sent_again_is_handled_by_a_rebuild(stage: Stage, mood: Mood) -> None:
    mood.error = Impossible
    stage.publish(placed(BAD))
    stage.play()
    retry(DeadQueue(stage.services["moody"], stage.broker, stage.databases["moody"]))
    mood.error = None

    rebuilt = rebuild(stage)

    assert (rebuilt.handled, rebuilt.known) == (1, 0)
    assert [each.duplicate for each in stage.play()] == [True]


@pytest.mark.parametrize("error", [Impossible, TransientFailure, ValueError])
def test_what_fails_now_goes_to_its_queue_and_is_not_lost(
    stage: Stage, mood: Mood, error: type[Exception]
) -> None:
    stage.publish(placed(BAD), placed("ORD-2"))
    stage.play()
    mood.error = error

    rebuilt = rebuild(stage)

    assert (rebuilt.handled, rebuilt.left) == (1, 1)
    mood.error = None
    assert [each.outcome for each in stage.play()] == [Outcome.DONE]
    assert handled(stage) == {BAD: "handled", "ORD-2": "handled"}


def test_an_unreadable_message_is_told_and_the_rest_goes_on(stage: Stage) -> None:
    stage.publish(placed("ORD-1"), placed("ORD-2"))
    with stage.broker._file.opened() as connection:
        connection.execute("UPDATE history SET body = x'7b' WHERE number = 1")
    told: list[Unreadable] = []

    rebuilt = rebuild(stage, tell=told.append)

    assert (rebuilt.handled, rebuilt.unreadable) == (1, 1)
    assert told[0].which.endswith("at place 0")


class Killed(BaseException):
    """The process ends here."""


def test_ended_in_the_middle_its_place_says_where_to_go_on(stage: Stage) -> None:
    stage.publish(*[placed(f"ORD-{number}") for number in range(10)])
    stage.play()

    def end(place: int, _: int) -> None:
        if place == 6:
            raise Killed

    with pytest.raises(Killed):
        rebuild(stage, watch=end)

    with stage.databases["moody"].read() as connection:
        place = checkpoints.find(connection)
    assert place == checkpoints.Checkpoint(6, 10, is_complete=False)
    assert len(handled(stage)) == 6


def test_a_service_that_publishes_is_refused(stage: Stage) -> None:
    with pytest.raises(InvalidInput, match=r"inventory publishes stock\.ran_short"):
        require_rebuildable(inventory, stage.broker)


def test_a_running_service_is_refused(stage: Stage) -> None:
    service = stage.services["moody"]
    stage.publish(placed("ORD-1"))
    require_rebuildable(service, stage.broker)
    consumer = stage.broker.consumer("moody", prefetch=1)
    consumer.take(1, wait=0)

    with pytest.raises(OperationFailed, match="moody is running"):
        require_rebuildable(service, stage.broker)


def test_a_history_without_an_event_is_refused(stage: Stage) -> None:
    with pytest.raises(OperationFailed, match="moody would be emptied and stay empty"):
        require_rebuildable(stage.services["moody"], stage.broker)


def test_loyalty_and_analytics_may_be_rebuilt(tmp_path: Path) -> None:
    stage = Stage(tmp_path, [loyalty])
    stage.publish(placed("ORD-1"))

    require_rebuildable(loyalty, stage.broker)

    stage.close()
