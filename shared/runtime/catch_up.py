"""Old events, brought to one service's queue again: a person's replay, and a service's catching up.

They go through `replays` with low priority, so that live events go first, and retry, dead letters
and batches are the ordinary ones. What the service has handled before is a duplicate to it.
"""

import threading

from tenacity import Retrying, retry_if_exception, wait_random_exponential

from shared.errors import BrokerRefused, BrokerUnavailable
from shared.history.copying import copy
from shared.history.reading import EventFilter, EventReader, UnreadableRecord
from shared.history.retention import truncated_history
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.history import HistoryReader
from shared.messaging.topology import Queue
from shared.runtime.logs import Log
from shared.runtime.service import AnyService
from shared.storage import checkpoints
from shared.storage.checkpoints import Checkpoint
from shared.storage.database import DATABASE_ERRORS, Database

TELL_EVERY = 20
"""Windows between two lines in the log."""


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

    def _place(self) -> Checkpoint | None:
        with self._database.read() as connection:
            place = checkpoints.find(connection)
            finished_at = checkpoints.finished_at(connection)
        if finished_at is not None and self._is_wanted:
            self._log.info("caught up before, nothing to do", at=finished_at.isoformat())
        if place is not None or not self._is_wanted:
            return place
        self._broker.bind(self._queue)
        end = self._history.end()
        with self._database.begin() as connection:
            checkpoints.begin(connection, self._database, until=end)
        return Checkpoint(0, end, is_done=False)

    def _bring(self, place: Checkpoint) -> None:
        left = truncated_history(self._history) if place.place == 0 else None
        if left is not None:
            self._log.warning("not all there was will come", reason=left.sentence)
        self._log.info("catching up", place=place.place, until=place.until)
        wanted = EventFilter(topics=self._service.topics)
        reading = EventReader(
            self._history, wanted, start=place.place, end=place.until, on_unreadable=self._skipped
        )
        publisher = self._broker.publisher()
        sent = 0
        try:
            for number, copied in enumerate(copy(reading, publisher, to=self._service.name), 1):
                sent += copied.size
                self._keep(copied.next_offset)
                if number % TELL_EVERY == 0:
                    self._log.info("catching up", place=copied.next_offset, until=place.until)
                if self._stopping.is_set():
                    return
        finally:
            publisher.close()
        if not self._stopping.is_set():
            with self._database.begin() as connection:
                checkpoints.finish(connection)
            self._log.info("caught up", brought=sent, unreadable=reading.unreadable)

    def _keep(self, place: int) -> None:
        with self._database.begin() as connection:
            checkpoints.advance(connection, place)

    def _skipped(self, message: UnreadableRecord) -> None:
        self._log.warning("unreadable, skipped", event_id=message.label, reason=message.reason)

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, BrokerRefused):
        return False
    return isinstance(error, (BrokerUnavailable, *DATABASE_ERRORS))
