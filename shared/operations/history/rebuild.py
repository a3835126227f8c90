"""Makes a service's state anew from the history, and says whether it is as it was.

Everything happens in this process: the service's tables are emptied, and it handles the whole
history here. Ended in the middle, its next start goes on where this was. What waits in its queue
are duplicates then.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from shared.errors import InvalidInput, OperationFailed
from shared.history.copying import copy
from shared.history.reading import EventFilter, EventReader, HistoryEvent, Unreadable
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import Delivery, Outcome
from shared.runtime.reactor import Reactor
from shared.runtime.service import AnyService, replay_side_effects
from shared.storage import checkpoints, table_digests
from shared.storage.database import Database
from shared.storage.table_digests import TableDigest


@dataclass(slots=True)
class RebuildResult:
    """What came of it.

    Attributes:
        handled: events that had their effects.
        known: events left as they are: discarded, or dead as before.
        left: events that failed now, and went to the service's queue to be retried there.
        unreadable: messages that are no events.
        before: what each table held, and `after` likewise.
    """

    handled: int = 0
    known: int = 0
    left: int = 0
    unreadable: int = 0
    before: Mapping[str, TableDigest] = field(default_factory=dict)
    after: Mapping[str, TableDigest] = field(default_factory=dict)

    @property
    def is_as_it_was(self) -> bool:
        """Whether every table holds the same rows."""
        return self.before == self.after

    @property
    def differences(self) -> list[str]:
        """What is not as it was, a sentence for each table."""
        return [
            f"{table}: {_rows(self.before.get(table))} before, {_rows(now)} now"
            + ("" if _rows(self.before.get(table)) != _rows(now) else ", and not the same ones")
            for table, now in self.after.items()
            if self.before.get(table) != now
        ]


def require_rebuildable(service: AnyService, broker: Broker) -> None:
    """Refuse what a rebuild would harm.

    Raises:
        InvalidInput: it publishes, or acts outside its database; the sentence says which.
        OperationFailed: it is running, or there is no history to make it anew from.
    """
    does = replay_side_effects(service)
    if does is not None:
        raise InvalidInput(
            f"{service.name} {does}, and would do so again for every old event: only a service "
            "that keeps what it hears, and nothing more, can be rebuilt"
        )
    running = broker.depth(service.name).consumers
    if running:
        raise OperationFailed(
            f"{service.name} is running ({running} {'consumer' if running == 1 else 'consumers'} "
            "of its queue): stop it first, so that nobody sees it half rebuilt"
        )
    if broker.history().first() is None:
        raise OperationFailed(
            f"the history holds no event, so {service.name} would be emptied and stay empty: "
            "nothing was changed"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild:
    """A rebuild.

    Attributes:
        watch: told after each batch how far it is, and where it ends.
        tell: told of each message that is no event.
    """

    service: AnyService
    database: Database
    broker: Broker
    batch_size: int
    watch: Callable[[int, int], None]
    tell: Callable[[Unreadable], None]

    def run(self) -> RebuildResult:
        """Empty the tables and fill them again.

        Raises:
            OperationFailed: the database or the broker went away; its next start goes on.
        """
        rebuilt = RebuildResult()
        history = self.broker.history()
        end = history.end()
        with self.database.begin() as connection:
            rebuilt.before = table_digests.digests(connection)
            dead = table_digests.dead_event_ids(connection)
            table_digests.truncate(connection)
            checkpoints.begin(connection, self.database, until=end)
        wanted = EventFilter(topics=self.service.topics)
        reading = EventReader(history, wanted, end=end, tell=self.tell)
        publisher = self.broker.publisher()
        try:
            for batch in self._batches(reading, rebuilt, dead):
                failed = self._handle(batch, rebuilt)
                # Before the place goes on, so that none is lost with this process.
                rebuilt.left += sum(
                    each.number for each in copy(failed, publisher, to=self.service.name)
                )
                with self.database.begin() as connection:
                    checkpoints.advance(connection, reading.place)
                self.watch(reading.place, end)
        finally:
            publisher.close()
        rebuilt.unreadable = reading.unreadable
        with self.database.begin() as connection:
            checkpoints.complete(connection)
            rebuilt.after = table_digests.digests(connection)
        return rebuilt

    def _batches(
        self, reading: EventReader, rebuilt: RebuildResult, dead: set[str]
    ) -> Iterator[list[HistoryEvent]]:
        told = iter(reading)
        while taken := list(islice(told, self.batch_size)):
            batch = [each for each in taken if str(each.event.event_id) not in dead]
            rebuilt.known += len(taken) - len(batch)
            yield batch

    def _handle(self, batch: Sequence[HistoryEvent], rebuilt: RebuildResult) -> list[HistoryEvent]:
        """Handle a batch; answers what failed."""
        reactor = Reactor(service=self.service, database=self.database, retry=self.service.retry)
        reaction = reactor.react([_delivery(self.service, each) for each in batch])
        if reaction.unavailable is not None:
            raise OperationFailed(
                f"{reaction.unavailable}; {self.service.name} is half rebuilt: rebuild it again, "
                "or start it, and it goes on by itself"
            )
        failed: list[HistoryEvent] = []
        for each in reaction.results:
            if each.outcome is not Outcome.DONE and isinstance(each.delivery.token, HistoryEvent):
                failed.append(each.delivery.token)
            elif each.duplicate:
                rebuilt.known += 1
            else:
                rebuilt.handled += 1
        return failed


def _delivery(service: AnyService, told: HistoryEvent) -> Delivery:
    return Delivery(
        queue=service.name,
        body=told.record.body,
        event_id=str(told.event.event_id),
        type=told.event.type,
        attempt=1,
        replays=0,
        token=told,
    )


def _rows(found: TableDigest | None) -> str:
    number = found.rows if found else 0
    return f"{number:,} {'row' if number == 1 else 'rows'}"
