"""Old events, brought to one service's queue again: a person's replay, and a service's catching up.

They go through `replays` with low priority, so that live events go first, and retry, dead letters
and batches are the ordinary ones. What the service has handled before is a duplicate to it.
"""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

from tenacity import Retrying, retry_if_exception, wait_random_exponential

from shared.errors import BrokerRefused, BrokerUnavailable, CouldNotBeDone, WrongInput
from shared.messaging.port import Broker, HistoryReader, Message, Publisher
from shared.messaging.topology import Queue
from shared.runtime.history import Reading, Told, Unreadable, Wanted, topic_of
from shared.runtime.logs import Log
from shared.runtime.retention import shortened
from shared.runtime.service import AnyService
from shared.storage import places
from shared.storage.database import DATABASE_ERRORS, Database
from shared.storage.places import Place

WINDOW = 500
"""Messages between two looks at whether they are safe."""

TELL_EVERY = 20
"""Windows between two lines in the log."""


class Copied(NamedTuple):
    """A window that is safe in the queue.

    Attributes:
        place: all below it in the history has been looked at, and what was wanted is safe.
    """

    number: int
    place: int


def copy(
    told: Iterable[Told], publisher: Publisher, *, to: str, replays: int = 0
) -> Iterator[Copied]:
    """Send events to one queue alone, a window at a time; the next is read meanwhile.

    Args:
        replays: how often a person has sent them again.

    Raises:
        CouldNotBeDone: the broker refuses one for good.
        BrokerUnavailable: it is away; the last window may be in the queue, or not.
    """
    left = iter(told)
    with ThreadPoolExecutor(1, thread_name_prefix="copying") as sending:
        window = list(islice(left, WINDOW))
        while window:
            messages = [_message(each, to=to, replays=replays) for each in window]
            answers = sending.submit(publisher.publish, messages)
            following = list(islice(left, WINDOW))
            for each, refusal in zip(window, answers.result(), strict=True):
                if refusal is not None:
                    event_id = each.event.event_id
                    raise CouldNotBeDone(f"event {event_id} cannot be replayed: {refusal}")
            yield Copied(len(window), window[-1].record.offset + 1)
            window = following


def _message(told: Told, *, to: str, replays: int) -> Message:
    event = told.event
    return Message(
        event_id=str(event.event_id),
        topic=topic_of(event.type),
        type=event.type,
        body=told.record.body,
        source="history",
        correlation_id=str(event.correlation_id or ""),
        occurred_at=event.occurred_at,
        only_to=to,
        replays=replays,
        low_priority=True,
    )


def why_not_again(service: AnyService) -> str | None:
    """What a service would do again, if it were brought events that it had forgotten; or None."""
    does = []
    if service.publishes:
        topics = ", ".join(sorted(each.topic for each in service.publishes))
        does.append(f"publishes {topics}")
    if service.acts_outside is not None:
        does.append("acts outside its database")
    return " and ".join(does) or None


def must_be_meant(service: AnyService) -> None:
    """Refuse to bring the whole history to a service that does more than keep what it hears.

    Raises:
        WrongInput: the sentence says what it would do.
    """
    does = why_not_again(service)
    if does is not None:
        raise WrongInput(
            f"{service.name} {does}: from the history it would do so for every old event that it "
            f"has not handled, as if each happened now; if that is meant: "
            f"shop run {service.name} --from-history --yes"
        )


class CatchUp:
    """Brings a service what happened before it was there, once; for a thread of its own.

    Its queue is bound before the end of the history is noted: what comes after the one comes by
    the other. Its place is kept after the broker's confirms, so it goes on where it was.

    Args:
        is_wanted: whether to begin; what was begun is ended in any case.
    """

    def __init__(  # noqa: PLR0913 - its parts, given by the composition root
        self,
        service: AnyService,
        queue: Queue,
        *,
        broker: Broker,
        database: Database,
        log: Log,
        is_wanted: bool,
    ) -> None:
        self._service = service
        self._queue = queue
        self._broker = broker
        self._database = database
        self._log = log
        self._is_wanted = is_wanted
        self._history: HistoryReader = broker.history()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Bring it; what is away is waited for."""
        patiently = Retrying(
            retry=retry_if_exception(_may_pass),
            wait=wait_random_exponential(multiplier=0.5, max=30),
            sleep=self._pause,
            stop=lambda _: self._stopping.is_set(),
            before_sleep=lambda state: self._log.warning(
                "catching up waits",
                error=type(state.outcome and state.outcome.exception()).__name__,
            ),
            retry_error_callback=lambda _: None,
        )
        patiently(self._once)

    def stop(self) -> None:
        """End after the window that is under way."""
        self._stopping.set()
        self._history.close()

    def _once(self) -> None:
        if self._stopping.is_set():
            return
        place = self._place()
        if place is not None and not place.is_done:
            self._bring(place)

    def _place(self) -> Place | None:
        with self._database.read() as connection:
            place = places.find(connection)
            finished_at = places.finished_at(connection)
        if finished_at is not None and self._is_wanted:
            self._log.info("caught up before, nothing to do", at=finished_at.isoformat())
        if place is not None or not self._is_wanted:
            return place
        self._broker.bind(self._queue)
        end = self._history.end()
        with self._database.begin() as connection:
            places.begin(connection, self._database, until=end)
        return Place(0, end, is_done=False)

    def _bring(self, place: Place) -> None:
        left = shortened(self._history) if place.place == 0 else None
        if left is not None:
            self._log.warning("not all there was will come", reason=left.sentence)
        self._log.info("catching up", place=place.place, until=place.until)
        wanted = Wanted(topics=self._service.topics)
        reading = Reading(
            self._history, wanted, start=place.place, end=place.until, tell=self._skipped
        )
        publisher = self._broker.publisher()
        sent = 0
        try:
            for number, copied in enumerate(copy(reading, publisher, to=self._service.name), 1):
                sent += copied.number
                self._keep(copied.place)
                if number % TELL_EVERY == 0:
                    self._log.info("catching up", place=copied.place, until=place.until)
                if self._stopping.is_set():
                    return
        finally:
            publisher.close()
        if not self._stopping.is_set():
            with self._database.begin() as connection:
                places.finish(connection)
            self._log.info("caught up", brought=sent, unreadable=reading.unreadable)

    def _keep(self, place: int) -> None:
        with self._database.begin() as connection:
            places.advance(connection, place)

    def _skipped(self, message: Unreadable) -> None:
        self._log.warning("unreadable, skipped", event_id=message.which, reason=message.reason)

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, BrokerRefused):
        return False
    return isinstance(error, (BrokerUnavailable, *DATABASE_ERRORS))
