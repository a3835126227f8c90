"""Dead letters of running services: listed, shown, retried and discarded, on both brokers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from shared.errors import Impossible, InvalidInput
from shared.events import DomainEvent, OrderCancelled, OrderPlaced
from shared.messaging.codec import message_of
from shared.messaging.connect import broker_at
from shared.messaging.ports.broker import Broker, Depth
from shared.messaging.ports.publisher import Message
from shared.operations.dead_letters.dead_queue import DeadQueue
from shared.operations.dead_letters.discard import discard
from shared.operations.dead_letters.listing import LetterGroup, group_letters, letter_details
from shared.operations.dead_letters.retry import RetryResult, retry
from shared.runtime.service import Service
from shared.runtime.settings import settings_for
from shared.storage.unit_of_work import Store, UnitOfWork
from tests.acceptance.conftest import Opening
from tests.acceptance.shop import RunningShop
from tests.support.order_events import cancelled, placed
from tests.support.waiting import eventually

Work = UnitOfWork[Store, Any]


class FlakyService:
    """A service that fails for the event types in `fails_on` and records what it handles."""

    def __init__(self) -> None:
        self.fails_on: set[type[DomainEvent]] = {OrderPlaced, OrderCancelled}
        self.handled: list[DomainEvent] = []
        self.service: Service[Store, Any] = Service("flaky", store=Store)
        self.service.on(OrderPlaced, self.handle)
        self.service.on(OrderCancelled, self.handle)

    def handle(self, event: DomainEvent, work: Work) -> None:
        del work
        if type(event) in self.fails_on:
            raise Impossible(f"{event.type} of {event.subject}")
        self.handled.append(event)

    @contextmanager
    def dead(self) -> Iterator[DeadQueue]:
        with DeadQueue.opened(self.service) as queue:
            yield queue


@pytest.fixture
def flaky() -> FlakyService:
    return FlakyService()


@contextmanager
def broker() -> Iterator[Broker]:
    opened = broker_at(settings_for("flaky").broker_url_of("flaky"))
    try:
        yield opened
    finally:
        opened.close()


def depth(queue: str) -> Depth:
    with broker() as opened:
        return opened.depth(queue)


def publish(*events: DomainEvent) -> None:
    """Publish events to the flaky service alone, so that no other service reacts."""
    send(*(replace(message_of(each, source="orders"), only_to="flaky") for each in events))


def send(*messages: Message) -> None:
    with broker() as opened:
        assert opened.publisher().publish(messages) == [None] * len(messages)


def wait_for_dead(count: int) -> None:
    eventually(lambda: depth("flaky.dead").ready == count)


def test_a_dead_letter_is_listed_with_its_error(open_shop: Opening, flaky: FlakyService) -> None:
    event = placed()
    with open_shop(flaky.service):
        publish(event, placed("ORD-2"), cancelled())
        wait_for_dead(3)

        with flaky.dead() as queue:
            groups = group_letters(queue)

    assert [(each.event_type, each.error, each.count) for each in groups] == [
        ("order.cancelled.v1", "Impossible", 1),
        ("order.placed.v1", "Impossible", 2),
    ]
    assert all(each.first and each.last and each.first <= each.last for each in groups)


def test_reading_thirty_times_changes_nothing(open_shop: Opening, flaky: FlakyService) -> None:
    event = placed()
    with open_shop(flaky.service):
        publish(event)
        wait_for_dead(1)

        listings: list[list[LetterGroup]] = []
        errors: list[str] = []
        for _ in range(15):
            with flaky.dead() as queue:
                listings.append(group_letters(queue))
            wait_for_dead(1)
            with flaky.dead() as queue:
                errors.append(letter_details(queue, str(event.event_id))["error"])
            wait_for_dead(1)

    assert listings == [listings[0]] * 15
    assert errors == ["Impossible"] * 15


def test_one_letter_is_shown_with_all_that_is_known_of_it(
    open_shop: Opening, flaky: FlakyService
) -> None:
    event = placed()
    with open_shop(flaky.service):
        publish(event)
        wait_for_dead(1)

        with flaky.dead() as queue:
            details = letter_details(queue, str(event.event_id)[-12:])

    assert (details["id"], details["subject"], details["source"]) == (
        str(event.event_id),
        "ORD-1",
        "/orders",
    )
    assert details["data"]["total_amount"] == "99.99"
    assert (details["replays"], details["applied"], details["broker_reason"]) == (
        0,
        False,
        "rejected",
    )
    [attempt] = details["attempts"]
    assert (attempt["attempt"], attempt["error"]) == (1, "Impossible")
    assert attempt["message"] == "order.placed.v1 of ORD-1"
    assert "handle" in attempt["traceback"]


def test_retried_letters_reach_their_service_alone_in_the_order_of_the_events(
    open_shop: Opening, flaky: FlakyService
) -> None:
    first, second, third = placed("ORD-1"), cancelled("ORD-1"), placed("ORD-2")
    with open_shop(flaky.service) as shop:
        publish(third, second, first)
        wait_for_dead(3)
        flaky.fails_on.clear()
        progress: list[tuple[int, int]] = []

        with flaky.dead() as queue:
            result = retry(queue, progress=lambda *numbers: progress.append(numbers))

        assert result == RetryResult(retried=3)
        assert progress[-1] == (3, 3)
        eventually(lambda: len(flaky.handled) == 3)
        assert flaky.handled == [first, second, third]
        wait_for_dead(0)
        assert shop.handled("analytics") == []


def test_a_letter_that_dies_again_shows_how_often_it_was_retried(
    open_shop: Opening, flaky: FlakyService
) -> None:
    event = placed()
    with open_shop(flaky.service) as shop:
        publish(event)
        wait_for_dead(1)

        with flaky.dead() as queue:
            retry(queue, letter_id=str(event.event_id))
        eventually(partial(_failed_twice, shop))
        wait_for_dead(1)

        with flaky.dead() as queue:
            details = letter_details(queue, str(event.event_id))
    assert details["replays"] == 1
    assert [(each["replays"], each["attempt"]) for each in details["attempts"]] == [(0, 1), (1, 1)]


def _failed_twice(shop: RunningShop) -> bool:
    return shop.failed("flaky") == ["Impossible", "Impossible"]


def test_only_letters_with_the_given_error_are_retried(
    open_shop: Opening, flaky: FlakyService
) -> None:
    with open_shop(flaky.service):
        publish(placed())
        send(_malformed("no-event"))
        wait_for_dead(2)

        with flaky.dead() as queue:
            assert retry(queue, error="Impossible", dry_run=True) == RetryResult(retried=1)
        wait_for_dead(2)
        with (
            flaky.dead() as queue,
            pytest.raises(InvalidInput, match="there are Impossible, MalformedEvent"),
        ):
            retry(queue, error="Nonsense")
        flaky.fails_on.clear()
        with flaky.dead() as queue:
            assert retry(queue, error="Impossible") == RetryResult(retried=1)
        wait_for_dead(1)
        with flaky.dead() as queue:
            assert retry(queue) == RetryResult(not_retryable=1)
        wait_for_dead(1)


def test_an_event_that_was_handled_meanwhile_is_shown_as_applied_and_settled_as_a_duplicate(
    open_shop: Opening, flaky: FlakyService
) -> None:
    event = placed()
    with open_shop(flaky.service) as shop:
        publish(event)
        wait_for_dead(1)
        flaky.fails_on.clear()
        publish(event)
        eventually(partial(shop.handled, "flaky"))

        with flaky.dead() as queue:
            [group] = group_letters(queue)
            assert letter_details(queue, str(event.event_id))["applied"]
        assert group.error == "applied"
        with flaky.dead() as queue, pytest.raises(InvalidInput, match="was applied"):
            discard(queue, str(event.event_id), reason="why not", discarded_by="jo")
        with flaky.dead() as queue:
            assert retry(queue) == RetryResult(duplicates=1)

        wait_for_dead(0)
        assert flaky.handled == [event]


def test_a_discarded_letter_is_never_handled_and_its_record_stays(
    open_shop: Opening, flaky: FlakyService
) -> None:
    event = placed()
    with open_shop(flaky.service):
        publish(event)
        wait_for_dead(1)
        flaky.fails_on.clear()

        with flaky.dead() as queue:
            discard(queue, str(event.event_id), reason="a test order", discarded_by="jo@desk")
        wait_for_dead(0)
        publish(event, cancelled())
        eventually(lambda: flaky.handled)

        with flaky.dead() as queue:
            details = letter_details(queue, str(event.event_id))
    assert [each.type for each in flaky.handled] == ["order.cancelled.v1"]
    assert (details["error"], details["reason"]) == ("discarded", "a test order")
    assert (details["discarded_by"], len(details["attempts"])) == ("jo@desk", 1)


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
def test_a_message_that_is_not_an_event_is_shown_left_by_retry_and_discarded(
    open_shop: Opening, flaky: FlakyService, body: bytes
) -> None:
    message = _malformed("", body=body)
    with open_shop(flaky.service):
        send(message)
        wait_for_dead(1)

        with flaky.dead() as queue:
            [group] = group_letters(queue)
        with flaky.dead() as queue:
            details = letter_details(queue, group.example)
        assert group.error == "MalformedEvent"
        assert details["body_bytes"] == len(body)
        with flaky.dead() as queue:
            assert retry(queue) == RetryResult(not_retryable=1)
        with flaky.dead() as queue:
            discard(queue, group.example, reason="malformed", discarded_by="jo")
        wait_for_dead(0)


def _malformed(event_id: str, *, body: bytes = b"not even JSON") -> Message:
    return Message(
        event_id=event_id or str(uuid4()),
        topic="order.placed",
        type="order.placed.v1",
        body=body,
        source="unknown",
        only_to="flaky",
    )
