"""Builds the timeline of one order from the databases of all services, and from the history.

1. Inboxes and outboxes hold the events of the order that each service handled or published.
2. A service that stores envelopes (analytics) has the cause of each event. If its database cannot
   be read, or lacks an event that another service has, the history is read instead.
3. Inboxes and failed attempts hold the outcome of each event in each service.

An event without a record in a service is waiting if it is in an outbox, if the service's queues
hold any message, or if it is so recent that it may be with a consumer or delayed for a retry, which
no queue counts. Otherwise its outcome is unknown.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import NamedTuple, Protocol, runtime_checkable
from uuid import UUID

from shared.clocks import TOLERANCE
from shared.errors import OperationFailed, ShopError
from shared.events import DomainEvent, topic_of
from shared.history.reading import EventFilter, EventReader, UnreadableRecord
from shared.messaging.identity import safe_type
from shared.messaging.ports.history import HistoryReader
from shared.messaging.topology import topics_matched
from shared.operations.history import timeline
from shared.operations.history.timeline import Reaction, Timeline, TimelineEntry
from shared.runtime.service import AnyService
from shared.storage import event_audit, failures, inbox
from shared.storage.database import Database
from shared.storage.event_audit import EventSummary, FailedAttempt, InboxEntry, Mention

_MOST = 10_000
_MOST_NOTES = 10
"""Events of a timeline, and unreadable messages that are named."""

_RESOLUTION = 0.001
"""Seconds; SQLite's clock has milliseconds."""

_OUTCOME_OF_FAILURE = {failures.DEAD: timeline.DEAD, failures.REDRIVEN: timeline.REDRIVEN}


@runtime_checkable
class EnvelopeStore(Protocol):
    """A store that keeps the envelope of every event."""

    def envelopes(self, subject: str) -> list[EventSummary]:
        """Return the events about an order."""


class Records(NamedTuple):
    """Inbox entries and failed attempts of a service, by event id."""

    entries: Mapping[UUID, InboxEntry]
    attempts: Mapping[UUID, Sequence[FailedAttempt]]


@dataclass(slots=True, kw_only=True)
class TimelineBuilder:
    """Builds one timeline.

    Attributes:
        services: all services.
        open_database: opens a service's database; raises OperationFailed if it cannot be read.
        open_history: opens the history; called only when it is needed.
        has_messages: whether a service's queues hold a message; raises OperationFailed if the
            broker cannot be asked.
    """

    services: Sequence[AnyService]
    open_database: Callable[[AnyService], AbstractContextManager[Database]]
    open_history: Callable[[], HistoryReader]
    has_messages: Callable[[AnyService], bool]
    _notes: list[str] = field(default_factory=list, init=False)
    _is_certain: bool = field(default=True, init=False)
    _unseen: set[str] = field(default_factory=set, init=False)
    _unreadable: int = field(default=0, init=False)
    _backlogs: dict[str, bool] = field(default_factory=dict, init=False)

    def build(self, order_id: str) -> Timeline:
        """Build the timeline of an order; it has no entries if the order has no events."""
        mentions = self._mentions(order_id)
        envelopes = self._envelopes(order_id, mentions)
        records = self._records(list(envelopes))
        unsent = {mention.event_id for mention in mentions.values() if not mention.is_sent}
        entries = [
            self._entry(envelope, envelopes, records, is_sent=envelope.event_id not in unsent)
            for envelope in sorted(envelopes.values(), key=partial(_place, envelopes=envelopes))
        ]
        return Timeline(
            order_id=order_id, entries=entries, notes=self._notes, is_certain=self._is_certain
        )

    def _mentions(self, order_id: str) -> dict[UUID, Mention]:
        mentions: list[Mention] = []
        for service in self.services:
            try:
                with self.open_database(service) as database, database.read() as connection:
                    mentions += event_audit.mentions(connection, order_id)
            except ShopError as error:
                self._unseen.add(service.name)
                self._notes.append(f"{service.name} cannot be read: {error}")
        # The later one counts: a subscriber's inbox proves that an event was sent.
        mentions.sort(key=lambda mention: mention.is_sent)
        return {mention.event_id: mention for mention in mentions}

    def _envelopes(
        self, order_id: str, mentions: Mapping[UUID, Mention]
    ) -> dict[UUID, EventSummary]:
        envelopes, source = self._stored_envelopes(order_id)
        sent = {mention.event_id for mention in mentions.values() if mention.is_sent}
        missing = sent - envelopes.keys()
        if missing or not envelopes:
            reason = _reason_to_read_history(source, len(missing))
            envelopes = self._envelopes_in_history(order_id, reason) | envelopes
        mentioned = {
            mention.event_id: EventSummary(mention.event_id, mention.type, mention.occurred_at)
            for mention in mentions.values()
        }
        return mentioned | envelopes

    def _stored_envelopes(self, order_id: str) -> tuple[dict[UUID, EventSummary], str | None]:
        """The envelopes, and the name of the service that stores them."""
        for service in self.services:
            has_envelopes = issubclass(service.store, EnvelopeStore)
            if has_envelopes and service.name not in self._unseen:
                with self.open_database(service) as database, database.read() as connection:
                    stored = service.store(connection, database).envelopes(order_id)
                return {envelope.event_id: envelope for envelope in stored}, service.name
        return {}, None

    def _envelopes_in_history(self, order_id: str, reason: str) -> dict[UUID, EventSummary]:
        try:
            history = self.open_history()
            reader = EventReader(
                history,
                EventFilter(order_id=order_id),
                end=history.end(),
                on_unreadable=self._note_unreadable,
            )
            found = {item.event.event_id: _summary(item.event) for item in islice(reader, _MOST)}
        except OperationFailed as error:
            self._notes.append(f"{reason}, and the history cannot be read: {error}")
            self._is_certain = False
            return {}
        self._notes.append(f"{reason}: the history was read instead")
        if reader.unreadable > _MOST_NOTES:
            self._notes.append(f"{reader.unreadable} messages of the history are unreadable")
        if len(found) == _MOST:
            self._notes.append(f"only its first {_MOST:,} events are shown")
        return found

    def _note_unreadable(self, record: UnreadableRecord) -> None:
        self._unreadable += 1
        if self._unreadable <= _MOST_NOTES:
            self._notes.append(record.sentence)

    def _records(self, event_ids: Collection[UUID]) -> dict[str, Records]:
        records: dict[str, Records] = {}
        for service in self.services:
            if service.name not in self._unseen:
                with self.open_database(service) as database, database.read() as connection:
                    records[service.name] = Records(
                        event_audit.inbox_entries(connection, event_ids),
                        event_audit.failed_attempts(connection, event_ids),
                    )
        return records

    def _entry(
        self,
        envelope: EventSummary,
        envelopes: Mapping[UUID, EventSummary],
        records: Mapping[str, Records],
        *,
        is_sent: bool,
    ) -> TimelineEntry:
        topic = topic_of(envelope.type)
        cause = envelopes.get(envelope.causation_id) if envelope.causation_id else None
        return TimelineEntry(
            envelope=envelope,
            depth=len(_chain(envelope, envelopes)) - 1,
            cause=cause,
            before_cause=_excess(envelope.occurred_at, cause.occurred_at) if cause else None,
            from_future=_excess(datetime.now(UTC), envelope.occurred_at, by=TOLERANCE),
            is_sent=is_sent,
            reactions=[
                self._reaction(service, envelope, records.get(service.name), is_sent=is_sent)
                for service in self.services
                if topics_matched(service.topics, topic)
            ],
        )

    def _reaction(
        self, service: AnyService, envelope: EventSummary, records: Records | None, *, is_sent: bool
    ) -> Reaction:
        if records is None:
            return Reaction(service=service.name, outcome=timeline.UNSEEN)
        entry = records.entries.get(envelope.event_id)
        attempts = records.attempts.get(envelope.event_id, [])
        outcome = _recorded_outcome(entry, attempts)
        if outcome is None:
            may_arrive = not is_sent or _is_recent(service, envelope) or self._has_backlog(service)
            outcome = timeline.WAITING if may_arrive else timeline.UNKNOWN
        at = entry.handled_at if entry else attempts[-1].failed_at if attempts else None
        return Reaction(
            service=service.name,
            outcome=outcome,
            at=at,
            # Nothing is handled before it occurred, so then the clocks of the machines differ.
            after=_seconds(envelope.occurred_at, at) if at else None,
            clock_difference=_excess(at, envelope.occurred_at) if at else None,
            attempts=attempts,
        )

    def _has_backlog(self, service: AnyService) -> bool:
        """Whether the service's queues hold a message; True if the broker cannot be asked."""
        if service.name not in self._backlogs:
            try:
                self._backlogs[service.name] = self.has_messages(service)
            except OperationFailed as error:
                self._notes.append(f"the queues of {service.name} cannot be read: {error}")
                self._backlogs[service.name] = True
        return self._backlogs[service.name]


def _seconds(start: datetime, end: datetime) -> float | None:
    """Seconds between two times; None if the end is before the start."""
    if _excess(end, start) is not None:
        return None
    return max(0.0, (end - start).total_seconds())


def _excess(limit: datetime, moment: datetime, *, by: float = _RESOLUTION) -> float | None:
    """Seconds by which a time is past a limit, if that is more than `by`."""
    seconds = (moment - limit).total_seconds()
    return seconds if seconds > by else None


def _summary(event: DomainEvent) -> EventSummary:
    return EventSummary(
        event.event_id, safe_type(event.type), event.occurred_at, event.causation_id
    )


def _place(
    envelope: EventSummary, envelopes: Mapping[UUID, EventSummary]
) -> tuple[datetime, int, UUID]:
    """Sorts events by time, and none before its cause, whose clock may be ahead."""
    chain = _chain(envelope, envelopes)
    return max(each.occurred_at for each in chain), len(chain), envelope.event_id


def _chain(
    envelope: EventSummary, envelopes: Mapping[UUID, EventSummary]
) -> Collection[EventSummary]:
    """The event, its cause, and so on; a circle of causes ends it."""
    seen = {envelope.event_id: envelope}
    cause = envelope.causation_id
    while cause is not None and cause in envelopes and cause not in seen:
        seen[cause] = envelopes[cause]
        cause = envelopes[cause].causation_id
    return seen.values()


def _reason_to_read_history(source: str | None, missing: int) -> str:
    if source is None:
        return "no service that stores envelopes can be read"
    if missing:
        return f"{source} has not handled {missing} of the events yet"
    return f"{source} has no event of this order"


def _recorded_outcome(entry: InboxEntry | None, attempts: Sequence[FailedAttempt]) -> str | None:
    if entry is not None:
        return timeline.DISCARDED if entry.outcome == inbox.DISCARDED else timeline.HANDLED
    if attempts:
        return _OUTCOME_OF_FAILURE.get(attempts[-1].outcome, timeline.RETRYING)
    return None


def _is_recent(service: AnyService, envelope: EventSummary) -> bool:
    """Whether an event may still be with a consumer, or delayed for a retry."""
    queue = service.queue()
    longest = timedelta(seconds=queue.retry.max_delay + queue.deadline)
    return datetime.now(UTC) - envelope.occurred_at < longest
