"""Dead letters of running services: looked at, explained, retried, discarded; on both brokers."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from shared.errors import Impossible, InvalidInput
from shared.events import DomainEvent, OrderCancelled, OrderPlaced
from shared.messaging.codec import encode
from shared.messaging.connect import broker_at
from shared.messaging.ports.broker import Depth
from shared.messaging.ports.publisher import Message
from shared.operations.dead_letters.dead_queue import DeadQueue
from shared.operations.dead_letters.listing import Group, grouped, letter_details
from shared.operations.dead_letters.retry import Retried, discard, retry
from shared.runtime.service import Service
from shared.runtime.settings import settings_for
from shared.storage.unit_of_work import Store, UnitOfWork
from tests.acceptance.conftest import Opening
from tests.acceptance.shop import RunningShop
from tests.support.histories import cancelled, placed
from tests.support.waiting import eventually

Work = UnitOfWork[Store, Any]


class Fickle:
    """A service that cannot handle what is in `breaks_on`, and remembers what it could."""

    def __init__(self) -> None:
        self.breaks_on: set[type[DomainEvent]] = {OrderPlaced, OrderCancelled}
        self.handled: list[DomainEvent] = []
        self.service: Service[Store, Any] = Service("fickle", store=Store)
        self.service.on(OrderPlaced, self.note)
        self.service.on(OrderCancelled, self.note)

    def note(self, event: DomainEvent, work: Work) -> None:
        del work
        if type(event) in self.breaks_on:
            raise Impossible(f"{event.type} of {event.subject}")
        self.handled.append(event)

    @contextmanager
    def dead(self) -> Iterator[DeadQueue]:
        with DeadQueue.opened(self.service) as queue:
            yield queue


@pytest.fixture
def fickle() -> Fickle:
    return Fickle()


@contextmanager
def broker() -> Iterator[Any]:
    opened = broker_at(settings_for("fickle").broker_url_of("fickle"))
    try:
        yield opened
    finally:
        opened.close()


def depth(queue: str) -> Depth:
    with broker() as opened:
        found: Depth = opened.depth(queue)
        return found


def tell(*events: DomainEvent) -> None:
    """Publish to the fickle service alone, so that the shop's own need not care."""
    send(
        *(
            Message(
                event_id=str(each.event_id),
                topic=each.topic,
                type=each.type,
                body=encode(each, source="orders"),
                source="orders",
                only_to="fickle",
            )
            for each in events
        )
    )


def send(*messages: Message) -> None:
    with broker() as opened:
        assert opened.publisher().publish(messages) == [None] * len(messages)


def are_dead(count: int) -> None:
    eventually(lambda: depth("fickle.dead").ready == count)


def test_a_dead_letter_is_listed_with_what_it_died_of(open_shop: Opening, fickle: Fickle) -> None:
    event = placed()
    with open_shop(fickle.service):
        tell(event, placed("ORD-2"), cancelled())
        are_dead(3)

        with fickle.dead() as queue:
            groups = grouped(queue)

    assert [(each.event_type, each.error, each.count) for each in groups] == [
        ("order.cancelled.v1", "Impossible", 1),
        ("order.placed.v1", "Impossible", 2),
    ]
    assert all(each.first and each.last and each.first <= each.last for each in groups)


def test_looking_thirty_times_changes_nothing(open_shop: Opening, fickle: Fickle) -> None:
    event = placed()
    with open_shop(fickle.service):
        tell(event)
        are_dead(1)

        looks: list[list[Group]] = []
        errors: list[str] = []
        for _ in range(15):
            with fickle.dead() as queue:
                looks.append(grouped(queue))
            are_dead(1)
            with fickle.dead() as queue:
                errors.append(letter_details(queue, str(event.event_id))["error"])
            are_dead(1)

    assert looks == [looks[0]] * 15
    assert errors == ["Impossible"] * 15


def test_one_letter_is_explained(open_shop: Opening, fickle: Fickle) -> None:
    event = placed()
    with open_shop(fickle.service):
        tell(event)
        are_dead(1)

        with fickle.dead() as queue:
            found = letter_details(queue, str(event.event_id)[-12:])

    assert (found["id"], found["subject"], found["source"]) == (
        str(event.event_id),
        "ORD-1",
        "/orders",
    )
    assert found["data"]["total_amount"] == "99.99"
    assert (found["replays"], found["applied"], found["broker_reason"]) == (0, False, "rejected")
    [attempt] = found["attempts"]
    assert (attempt["attempt"], attempt["error"]) == (1, "Impossible")
    assert attempt["message"] == "order.placed.v1 of ORD-1"
    assert "note" in attempt["traceback"]


def test_retried_letters_reach_their_service_alone_in_the_order_of_the_events(
    open_shop: Opening, fickle: Fickle
) -> None:
    first, second, third = placed("ORD-1"), cancelled("ORD-1"), placed("ORD-2")
    with open_shop(fickle.service) as shop:
        tell(third, second, first)
        are_dead(3)
        fickle.breaks_on.clear()
        progress: list[tuple[int, int]] = []

        with fickle.dead() as queue:
            done = retry(queue, progress=lambda *told: progress.append(told))

        assert done == Retried(retried=3)
        assert progress[-1] == (3, 3)
        eventually(lambda: len(fickle.handled) == 3)
        assert fickle.handled == [first, second, third]
        are_dead(0)
        assert shop.handled("analytics") == []


def test_what_dies_again_tells_how_often_it_was_retried(open_shop: Opening, fickle: Fickle) -> None:
    event = placed()
    with open_shop(fickle.service) as shop:
        tell(event)
        are_dead(1)

        with fickle.dead() as queue:
            retry(queue, name=str(event.event_id))
        eventually(partial(_failed_twice, shop))
        are_dead(1)

        with fickle.dead() as queue:
            found = letter_details(queue, str(event.event_id))
    assert found["replays"] == 1
    assert [(each["replays"], each["attempt"]) for each in found["attempts"]] == [(0, 1), (1, 1)]


def _failed_twice(shop: RunningShop) -> bool:
    return shop.failed("fickle") == ["Impossible", "Impossible"]


def test_only_what_died_of_one_error_is_retried(open_shop: Opening, fickle: Fickle) -> None:
    with open_shop(fickle.service):
        tell(placed())
        send(_malformed("no event"))
        are_dead(2)

        with fickle.dead() as queue:
            assert retry(queue, error="Impossible", dry_run=True) == Retried(retried=1)
        are_dead(2)
        with (
            fickle.dead() as queue,
            pytest.raises(InvalidInput, match="there are Impossible, MalformedEvent"),
        ):
            retry(queue, error="Nonsense")
        fickle.breaks_on.clear()
        with fickle.dead() as queue:
            assert retry(queue, error="Impossible") == Retried(retried=1)
        are_dead(1)
        with fickle.dead() as queue:
            assert retry(queue) == Retried(left=1)
        are_dead(1)


def test_what_was_applied_after_all_is_shown_so_and_settled_as_a_duplicate(
    open_shop: Opening, fickle: Fickle
) -> None:
    event = placed()
    with open_shop(fickle.service) as shop:
        tell(event)
        are_dead(1)
        fickle.breaks_on.clear()
        tell(event)
        eventually(partial(shop.handled, "fickle"))

        with fickle.dead() as queue:
            [group] = grouped(queue)
            assert letter_details(queue, str(event.event_id))["applied"]
        assert group.error == "applied"
        with fickle.dead() as queue, pytest.raises(InvalidInput, match="was applied"):
            discard(queue, str(event.event_id), reason="why not", who="jo")
        with fickle.dead() as queue:
            assert retry(queue) == Retried(duplicates=1)

        are_dead(0)
        assert fickle.handled == [event]


def test_a_discarded_letter_is_never_handled_and_its_record_stays(
    open_shop: Opening, fickle: Fickle
) -> None:
    event = placed()
    with open_shop(fickle.service):
        tell(event)
        are_dead(1)
        fickle.breaks_on.clear()

        with fickle.dead() as queue:
            discard(queue, str(event.event_id), reason="a test order", who="jo@desk")
        are_dead(0)
        tell(event, cancelled())
        eventually(lambda: fickle.handled)

        with fickle.dead() as queue:
            found = letter_details(queue, str(event.event_id))
    assert [each.type for each in fickle.handled] == ["order.cancelled.v1"]
    assert (found["error"], found["reason"]) == ("discarded", "a test order")
    assert (found["discarded_by"], len(found["attempts"])) == ("jo@desk", 1)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe not text", id="no-text"),
        pytest.param(b"[1, 2]", id="no-object"),
        pytest.param(b'{"specversion": "1.0"}', id="no-envelope"),
        pytest.param(b" " * 1024 * 1024, id="1-MiB"),
    ],
)
def test_what_is_no_event_is_shown_discarded_and_left_by_retry(
    open_shop: Opening, fickle: Fickle, body: bytes
) -> None:
    message = _malformed("", body=body)
    with open_shop(fickle.service):
        send(message)
        are_dead(1)

        with fickle.dead() as queue:
            [group] = grouped(queue)
        with fickle.dead() as queue:
            found = letter_details(queue, group.example)
        assert group.error == "MalformedEvent"
        assert found["body_bytes"] == len(body)
        with fickle.dead() as queue:
            assert retry(queue) == Retried(left=1)
        with fickle.dead() as queue:
            discard(queue, group.example, reason="noise", who="jo")
        are_dead(0)


def _malformed(event_id: str, *, body: bytes = b"not even JSON") -> Message:
    return Message(
        event_id=event_id or str(uuid4()),
        topic="order.placed",
        type="order.placed.v1",
        body=body,
        source="somebody",
        only_to="fickle",
    )
