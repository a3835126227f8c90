"""One order's whole story: what happened, what caused it, and what each service did with it.

Which events there are a service tells that keeps envelopes (analytics); where it cannot, or has not
heard of all, the history is read. What was done with them stands in each service's own database;
one that cannot be seen is named. What a service has neither handled nor failed at waits for it only
where its queues hold something, or where it happened so lately that it may be in hand or held back,
which no queue counts.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from shared.errors import OperationFailed, ShopError
from shared.events import topic_of
from shared.history.reading import EventFilter, EventReader, Unreadable
from shared.messaging.ports.history import HistoryReader
from shared.messaging.topology import topics_matched
from shared.operations.history.timeline import (
    DEAD,
    DISCARDED,
    HANDLED,
    REDRIVEN,
    RETRYING,
    UNKNOWN,
    UNSEEN,
    WAITING,
    Reaction,
    Timeline,
    TimelineEntry,
)
from shared.runtime.service import AnyService
from shared.storage import event_audit, failures, inbox
from shared.storage.database import Database
from shared.storage.event_audit import EventSummary, FailedAttempt, InboxEntry, Mention

_AFTER_FAILING = {failures.DEAD: DEAD, failures.REDRIVEN: REDRIVEN}

Opening = Callable[[AnyService], AbstractContextManager[Database]]
Asking = Callable[[AnyService], bool]
Reacted = tuple[Mapping[UUID, InboxEntry], Mapping[UUID, Sequence[FailedAttempt]]]
"""What a service's inbox says of events, and how it failed at them."""


@dataclass(slots=True)
class TimelineBuilder:
    """Tells stories.

    Attributes:
        services: all there are.
        opening: opens a service's database; raises OperationFailed where it cannot be seen.
        history: read when it has to be.
        holding: says whether a service's queues hold anything; raises OperationFailed where they
            cannot be asked.
    """

    services: Sequence[AnyService]
    opening: Opening
    history: Callable[[], HistoryReader]
    holding: Asking
    _held: dict[str, bool] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)
    _unseen: set[str] = field(default_factory=set)
    _is_certain: bool = True

    def build(self, order: str) -> Timeline:
        """The story of an order; without a entry, if nobody has heard of it."""
        mentions = self._mentions(order)
        envelopes = self._envelopes(order, mentions)
        reacted = self._reactions(list(envelopes))
        entries = [
            self._happening(each, envelopes, mentions, reacted)
            for each in sorted(envelopes.values(), key=lambda e: (e.occurred_at, e.event_id))
        ]
        return Timeline(
            order_id=order,
            entries=entries,
            notes=self._notes,
            is_certain=self._is_certain,
        )

    def _mentions(self, order: str) -> dict[UUID, Mention]:
        found: dict[UUID, Mention] = {}
        for service in self.services:
            try:
                with self.opening(service) as database, database.read() as connection:
                    for each in event_audit.mentions(connection, order):
                        # One that somebody has heard was sent, whatever the outbox says by now.
                        if each.is_sent or each.event_id not in found:
                            found[each.event_id] = each
            except ShopError as error:
                self._unseen.add(service.name)
                self._notes.append(f"{service.name} cannot be seen: {error}")
        return found

    def _envelopes(self, order: str, mentions: Mapping[UUID, Mention]) -> dict[UUID, EventSummary]:
        kept, keeper = self._kept(order)
        sent = {each.event_id for each in mentions.values() if each.is_sent}
        missing = sent - kept.keys()
        if missing or not kept:
            kept = self._read(order, _why_not_kept(keeper, len(missing))) | kept
        unsent = {
            each.event_id: EventSummary(each.event_id, each.type, each.occurred_at)
            for each in mentions.values()
        }
        return unsent | kept

    def _kept(self, order: str) -> tuple[dict[UUID, EventSummary], str]:
        for service in self.services:
            if hasattr(service.store, "envelopes") and service.name not in self._unseen:
                with self.opening(service) as database, database.read() as connection:
                    found = service.store(connection, database).envelopes(order)
                return {each.event_id: each for each in found}, service.name
        return {}, ""

    def _read(self, order: str, why: str) -> dict[UUID, EventSummary]:
        try:
            history = self.history()
            reading = EventReader(
                history, EventFilter(order=order), end=history.end(), tell=self._note_unreadable
            )
            found = [told.event for told in reading]
        except OperationFailed as error:
            self._notes.append(f"{why}, and the history cannot be read: {error}")
            self._is_certain = False
            return {}
        self._notes.append(f"{why}: the history was read instead")
        return {
            each.event_id: EventSummary(
                each.event_id, each.type, each.occurred_at, each.causation_id
            )
            for each in found
        }

    def _note_unreadable(self, message: Unreadable) -> None:
        self._notes.append(f"unreadable, skipped: {message.which}: {message.reason}")

    def _reactions(self, ids: Collection[UUID]) -> dict[str, Reacted]:
        found: dict[str, Reacted] = {}
        for service in self.services:
            if service.name not in self._unseen:
                with self.opening(service) as database, database.read() as connection:
                    entries = event_audit.inbox_entries(connection, ids)
                    found[service.name] = entries, event_audit.failed_attempts(connection, ids)
        return found

    def _happening(
        self,
        envelope: EventSummary,
        envelopes: Mapping[UUID, EventSummary],
        mentions: Mapping[UUID, Mention],
        reacted: Mapping[str, Reacted],
    ) -> TimelineEntry:
        topic = topic_of(envelope.type)
        mention = mentions.get(envelope.event_id)
        is_sent = mention is None or mention.is_sent
        return TimelineEntry(
            envelope=envelope,
            depth=_depth(envelope, envelopes),
            cause=envelopes.get(envelope.causation_id) if envelope.causation_id else None,
            is_sent=is_sent,
            reactions=[
                self._reaction(service, envelope, reacted.get(service.name), is_sent=is_sent)
                for service in self.services
                if topics_matched(service.topics, topic)
            ],
        )

    def _reaction(
        self, service: AnyService, envelope: EventSummary, reacted: Reacted | None, *, is_sent: bool
    ) -> Reaction:
        if reacted is None:
            return Reaction(service=service.name, outcome=UNSEEN)
        entry = reacted[0].get(envelope.event_id)
        failed = reacted[1].get(envelope.event_id, [])
        outcome = _outcome(entry, failed)
        if outcome is None:
            may_come = not is_sent or _is_young(service, envelope) or self._may_hold(service)
            outcome = WAITING if may_come else UNKNOWN
        at = entry.handled_at if entry else failed[-1].failed_at if failed else None
        return Reaction(
            service=service.name,
            outcome=outcome,
            at=at,
            # Clocks of machines differ; nothing is handled before it happened.
            after=max(0.0, (at - envelope.occurred_at).total_seconds()) if at else None,
            attempts=failed,
        )

    def _may_hold(self, service: AnyService) -> bool:
        if service.name not in self._held:
            try:
                self._held[service.name] = self.holding(service)
            except OperationFailed as error:
                self._notes.append(f"whether anything waits for {service.name} is unknown: {error}")
                self._held[service.name] = True
        return self._held[service.name]


def _why_not_kept(keeper: str, missing: int) -> str:
    if not keeper:
        return "no service that keeps envelopes can be seen"
    known = f"has not heard of {missing} of its events yet" if missing else "knows no event of it"
    return f"{keeper} {known}"


def _is_young(service: AnyService, envelope: EventSummary) -> bool:
    """Whether an event may be in the service's hands, or held back, since it happened."""
    queue = service.queue()
    held = timedelta(seconds=queue.retry.max_delay + queue.deadline)
    return datetime.now(UTC) - envelope.occurred_at < held


def _outcome(entry: InboxEntry | None, failed: Sequence[FailedAttempt]) -> str | None:
    if entry is not None:
        return DISCARDED if entry.outcome == inbox.DISCARDED else HANDLED
    if failed:
        return _AFTER_FAILING.get(failed[-1].outcome, RETRYING)
    return None


def _depth(envelope: EventSummary, envelopes: Mapping[UUID, EventSummary]) -> int:
    """How long the chain of causes is; whoever made a circle of them is told once."""
    seen = {envelope.event_id}
    cause = envelope.causation_id
    while cause is not None and cause in envelopes and cause not in seen:
        seen.add(cause)
        cause = envelopes[cause].causation_id
    return len(seen) - 1
