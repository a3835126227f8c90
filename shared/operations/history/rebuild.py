"""Rebuilds a service's tables from the history, and compares them with those before.

The service's tables are emptied, and then its handlers handle the whole history in this process. If
this process ends early, the service continues from the checkpoint at its next start, if it may then
read the history (see `shared.runtime.catch_up`). Messages that were in the service's queue are
duplicates after the rebuild.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice

from shared.errors import InvalidInput, OperationFailed
from shared.history.copying import copy
from shared.history.reading import EventFilter, EventReader, HistoryEvent, UnreadableRecord
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import Delivery, Outcome
from shared.messaging.ports.history import HistoryReader
from shared.operations.console import counted
from shared.runtime.reactor import Reactor
from shared.runtime.service import AnyService, replay_side_effects
from shared.storage import checkpoints, table_digests
from shared.storage.database import Database
from shared.storage.table_digests import TableDigest


@dataclass(slots=True)
class RebuildResult:
    """The result of a rebuild.

    Attributes:
        handled: events that were handled.
        unchanged: events that stayed discarded or dead.
        queued: events that failed, and are in the service's queue for another attempt.
        unreadable: records that are not events.
        before, after: the digest of each table.
    """

    handled: int = 0
    unchanged: int = 0
    queued: int = 0
    unreadable: int = 0
    before: Mapping[str, TableDigest] = field(default_factory=dict)
    after: Mapping[str, TableDigest] = field(default_factory=dict)

    @property
    def is_identical(self) -> bool:
        """Whether every table holds the same rows as before."""
        return self.before == self.after

    @property
    def differences(self) -> list[str]:
        """A sentence for each table that differs."""
        return [
            f"{table}: {_rows(self.before.get(table))} before, {_rows(after)} now"
            + ("" if _rows(self.before.get(table)) != _rows(after) else ", with different content")
            for table, after in self.after.items()
            if self.before.get(table) != after
        ]


def require_rebuildable(service: AnyService, broker: Broker, history: HistoryReader) -> None:
    """Check that a rebuild would do no harm.

    Raises:
        InvalidInput: the service publishes events, or acts outside its database.
        OperationFailed: it is running, or the history is empty.
    """
    side_effects = replay_side_effects(service)
    if side_effects is not None:
        raise InvalidInput(
            f"{service.name} {side_effects}, and would do so again for every old event: only a "
            "service that does nothing but write to its database can be rebuilt"
        )
    consumers = broker.depth(service.name).consumers
    if consumers:
        raise OperationFailed(
            f"{service.name} is running ({counted(consumers, 'consumer')}): stop it first, "
            "because its state is incomplete during a rebuild"
        )
    if history.first() is None:
        raise OperationFailed(
            f"the history holds no event, so {service.name} would be emptied and stay empty: "
            "nothing was changed"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild:
    """A rebuild of one service.

    Attributes:
        broker: with the service's credentials; events that failed go to its queue.
        history: with the operator's credentials.
        batch_size: the maximum number of events in one transaction.
        on_progress: called after each batch with the next offset and the end.
    """

    service: AnyService
    database: Database
    broker: Broker
    history: HistoryReader
    batch_size: int
    on_progress: Callable[[int, int], None]
    on_unreadable: Callable[[UnreadableRecord], None]

    def run(self) -> RebuildResult:
        """Empty the tables, and handle the whole history.

        Raises:
            OperationFailed: the database or the broker is away; repeat the rebuild, or let the
                service continue it at its next start.
        """
        result = RebuildResult()
        end = self.history.end()
        with self.database.begin() as connection:
            result.before = table_digests.digests(connection)
            dead = table_digests.dead_event_ids(connection)
            table_digests.truncate(connection)
            checkpoints.begin(connection, self.database, until=end)
        event_filter = EventFilter(topics=self.service.topics)
        reader = EventReader(self.history, event_filter, end=end, on_unreadable=self.on_unreadable)
        events = iter(reader)
        with closing(self.broker.publisher()) as publisher:
            while batch := list(islice(events, self.batch_size)):
                pending = [item for item in batch if str(item.event.event_id) not in dead]
                result.unchanged += len(batch) - len(pending)
                failed = self._handle(pending, result)
                # Before the checkpoint advances, so that no event is lost if this process ends.
                windows = copy(failed, publisher, to=self.service.name)
                result.queued += sum(window.size for window in windows)
                with self.database.begin() as connection:
                    checkpoints.advance(connection, reader.next_offset)
                self.on_progress(reader.next_offset, end)
        result.unreadable = reader.unreadable
        with self.database.begin() as connection:
            checkpoints.complete(connection)
            result.after = table_digests.digests(connection)
        return result

    def _handle(self, batch: Sequence[HistoryEvent], result: RebuildResult) -> list[HistoryEvent]:
        """Handle a batch, and return the events that failed."""
        reactor = Reactor(service=self.service, database=self.database, retry=self.service.retry)
        reaction = reactor.react([_delivery(self.service, item) for item in batch])
        if reaction.unavailable is not None:
            raise OperationFailed(
                f"{reaction.unavailable}; the rebuild of {self.service.name} is not finished: "
                "repeat it, or start the service, which continues it"
            )
        failed: list[HistoryEvent] = []
        for each in reaction.results:
            if each.outcome is not Outcome.DONE and isinstance(each.delivery.token, HistoryEvent):
                failed.append(each.delivery.token)
            elif each.duplicate:
                result.unchanged += 1
            else:
                result.handled += 1
        return failed


def _delivery(service: AnyService, item: HistoryEvent) -> Delivery:
    return Delivery(
        queue=service.name,
        body=item.record.body,
        event_id=str(item.event.event_id),
        type=item.event.type,
        attempt=1,
        replays=0,
        token=item,
        topic=item.record.topic,
    )


def _rows(digest: TableDigest | None) -> str:
    return counted(digest.rows if digest else 0, "row")
