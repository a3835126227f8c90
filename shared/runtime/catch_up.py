"""The catch-up of a service: the events of the history that precede its queue are sent to it.

They go through the exchange `replays` with low priority, so that the service handles new events
first; retry, dead letters and batches are as usual. An event that it has handled is a duplicate.

On RabbitMQ a service may read the history only while it catches up: `shop setup` grants that if its
setting `SHOP_<NAME>_FROM_HISTORY` is on, and takes it back once the catch-up has ended.
"""

import threading
from dataclasses import dataclass

from shared.errors import BrokerRefused, BrokerUnavailable, HistoryNotGranted
from shared.history.copying import copy
from shared.history.reading import EventFilter, EventReader, UnreadableRecord
from shared.history.retention import truncated_history
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.history import HistoryReader
from shared.messaging.topology import Queue
from shared.runtime.logs import Log
from shared.runtime.retrying import retry_until_stopped
from shared.runtime.service import AnyService
from shared.storage import checkpoints
from shared.storage.checkpoints import Checkpoint
from shared.storage.database import DATABASE_ERRORS, Database

LOG_EVERY = 20
"""Windows between two log lines about the progress."""


@dataclass(eq=False)
class CatchUp:
    """Sends a service the events that precede its queue, once; `run` is for a thread of its own.

    The queue is bound before the end of the history is read, so each event arrives by the binding
    or by the catch-up. The checkpoint is written after the broker's confirms: a catch-up that was
    interrupted continues where it stopped.

    Attributes:
        is_wanted: whether to begin a catch-up; one that was begun is finished in any case.
    """

    service: AnyService
    queue: Queue
    broker: Broker
    database: Database
    log: Log
    is_wanted: bool

    def __post_init__(self) -> None:
        self.log = self.log.bind(task="catch-up")
        self._history: HistoryReader = self.broker.history()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Send the events, and return when all are sent, none are wanted, or it is stopped.

        While the broker or the database is away, or the history is not granted, it tries again.

        Raises:
            BrokerRefused: the broker refuses this service.
        """
        retry_until_stopped(
            self._try_to_catch_up,
            on=(BrokerUnavailable, *DATABASE_ERRORS),
            never_on=(BrokerRefused,),
            stopping=self._stopping,
            log=self.log,
        )

    def stop(self) -> None:
        """Make `run` return after the current window."""
        self._stopping.set()
        self._history.close()

    def _try_to_catch_up(self) -> None:
        try:
            self._catch_up()
        except HistoryNotGranted as error:
            variable = f"SHOP_{self.service.name.upper()}_FROM_HISTORY"
            raise HistoryNotGranted(
                f"{error}; to let this service catch up, set {variable}=true and run `shop setup`"
            ) from error

    def _catch_up(self) -> None:
        if self._stopping.is_set():
            return
        checkpoint = self._checkpoint()
        if checkpoint is not None and not checkpoint.is_complete:
            self._send_from(checkpoint)

    def _checkpoint(self) -> Checkpoint | None:
        """The checkpoint, a new one if the catch-up is to begin, or None if there is none to do."""
        with self.database.read() as connection:
            checkpoint = checkpoints.find(connection)
            finished_at = checkpoints.completed_at(connection)
        if finished_at is not None and self.is_wanted:
            self.log.info("catch-up already finished", at=finished_at.isoformat())
        if checkpoint is not None or not self.is_wanted:
            return checkpoint
        self.broker.bind(self.queue)
        end = self._history.end()
        with self.database.begin() as connection:
            checkpoints.begin(connection, self.database, until=end)
        return Checkpoint(0, end, is_complete=False)

    def _send_from(self, checkpoint: Checkpoint) -> None:
        start, end = checkpoint.position, checkpoint.until
        truncated = truncated_history(self._history) if start == 0 else None
        if truncated is not None:
            self.log.warning("history is incomplete", reason=truncated.sentence)
        self.log.info("catching up", position=start, until=end)
        subscribed = EventFilter(topics=self.service.topics)
        events = EventReader(
            self._history, subscribed, start=start, end=end, on_unreadable=self._log_unreadable
        )
        publisher = self.broker.publisher()
        sent = 0
        try:
            for number, window in enumerate(copy(events, publisher, to=self.service.name), 1):
                sent += window.size
                self._advance(window.next_offset)
                if number % LOG_EVERY == 0:
                    self.log.info("catching up", position=window.next_offset, until=end)
                if self._stopping.is_set():
                    return
        finally:
            publisher.close()
        if not self._stopping.is_set():
            with self.database.begin() as connection:
                checkpoints.complete(connection)
            self.log.info("catch-up finished", sent=sent, unreadable=events.unreadable)

    def _advance(self, position: int) -> None:
        with self.database.begin() as connection:
            checkpoints.advance(connection, position)

    def _log_unreadable(self, record: UnreadableRecord) -> None:
        self.log.warning("unreadable message skipped", event_id=record.label, reason=record.reason)
