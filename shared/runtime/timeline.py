"""One order's whole story: what happened, what caused it, and what each service did with it.

Which events there are a service tells that keeps envelopes (analytics); where it cannot, or has not
heard of all, the history is read. What was done with them stands in each service's own database;
one that cannot be seen is named.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.errors import CouldNotBeDone, ShopError
from shared.messaging.port import HistoryReader
from shared.messaging.topology import topics_matched
from shared.runtime.history import Reading, Unreadable, Wanted, topic_of
from shared.runtime.service import AnyService
from shared.storage import inbox, reactions
from shared.storage.database import Database
from shared.storage.reactions import Attempt, Entry, Envelope, Mention

HANDLED = "handled"
DISCARDED = "discarded"
DEAD = "dead"
RETRYING = "retrying"
WAITING = "waiting"
UNSEEN = "unseen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What one service did with one event.

    Attributes:
        outcome: `handled`, `discarded`, `dead`, `retrying`, `waiting`, or `unseen` where the
            service's database cannot be looked into.
        at: when it was handled, or failed last.
        after: seconds from the event to then.
        attempts: those that failed.
    """

    service: str
    outcome: str
    at: datetime | None = None
    after: float | None = None
    attempts: Sequence[Attempt] = ()

    @property
    def record(self) -> dict[str, Any]:
        """For JSON."""
        failed = [
            {"error": each.error, "message": each.message, "failed_at": each.failed_at}
            for each in self.attempts
        ]
        return {
            "service": self.service,
            "outcome": self.outcome,
            "at": self.at,
            "after_seconds": self.after,
            "failed_attempts": failed,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """An event of the story.

    Attributes:
        depth: how many events led to it, of those of this order.
        cause: the event that caused it; None for a person's act, or where it is of another order.
        is_sent: the broker has it.
    """

    envelope: Envelope
    depth: int
    cause: Envelope | None
    is_sent: bool
    reactions: Sequence[Reaction]

    @property
    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "event_id": self.envelope.event_id,
            "type": self.envelope.type,
            "occurred_at": self.envelope.occurred_at,
            "causation_id": self.envelope.causation_id,
            "sent": self.is_sent,
            "services": [each.record for each in self.reactions],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The story.

    Attributes:
        notes: what could not be seen, and where it was looked instead, a sentence each.
        is_certain: there is no event beside these; not so where the history could not be read.
    """

    order_id: str
    happenings: Sequence[Happening]
    notes: Sequence[str]
    is_certain: bool = True


Opening = Callable[[AnyService], AbstractContextManager[Database]]


@dataclass(slots=True)
class Teller:
    """Tells stories.

    Attributes:
        services: all there are.
        opening: opens a service's database; raises CouldNotBeDone where it cannot be seen.
        history: read when it has to be.
    """

    services: Sequence[AnyService]
    opening: Opening
    history: Callable[[], HistoryReader]
    _notes: list[str] = field(default_factory=list)
    _unseen: set[str] = field(default_factory=set)
    _is_certain: bool = True

    def story(self, order: str) -> Timeline:
        """The story of an order; without a happening, if nobody has heard of it."""
        mentions = self._mentions(order)
        envelopes = self._envelopes(order, mentions)
        reacted = self._reactions(list(envelopes))
        happenings = [
            self._happening(each, envelopes, mentions, reacted)
            for each in sorted(envelopes.values(), key=lambda e: (e.occurred_at, e.event_id))
        ]
        return Timeline(
            order_id=order,
            happenings=happenings,
            notes=self._notes,
            is_certain=self._is_certain,
        )

    def _mentions(self, order: str) -> dict[UUID, Mention]:
        found: dict[UUID, Mention] = {}
        for service in self.services:
            try:
                with self.opening(service) as database, database.read() as connection:
                    for each in reactions.mentions(connection, order):
                        # One that somebody has heard was sent, whatever the outbox says by now.
                        if each.is_sent or each.event_id not in found:
                            found[each.event_id] = each
            except ShopError as error:
                self._unseen.add(service.name)
                self._notes.append(f"{service.name} cannot be seen: {error}")
        return found

    def _envelopes(self, order: str, mentions: Mapping[UUID, Mention]) -> dict[UUID, Envelope]:
        kept, keeper = self._kept(order)
        sent = {each.event_id for each in mentions.values() if each.is_sent}
        missing = sent - kept.keys()
        if missing or not kept:
            kept = self._read(order, _why_not_kept(keeper, len(missing))) | kept
        unsent = {
            each.event_id: Envelope(each.event_id, each.type, each.occurred_at)
            for each in mentions.values()
        }
        return unsent | kept

    def _kept(self, order: str) -> tuple[dict[UUID, Envelope], str]:
        for service in self.services:
            if hasattr(service.store, "envelopes") and service.name not in self._unseen:
                with self.opening(service) as database, database.read() as connection:
                    found = service.store(connection, database).envelopes(order)
                return {each.event_id: each for each in found}, service.name
        return {}, ""

    def _read(self, order: str, why: str) -> dict[UUID, Envelope]:
        try:
            history = self.history()
            reading = Reading(
                history, Wanted(order=order), end=history.end(), tell=self._note_unreadable
            )
            found = [told.event for told in reading]
        except CouldNotBeDone as error:
            self._notes.append(f"{why}, and the history cannot be read: {error}")
            self._is_certain = False
            return {}
        self._notes.append(f"{why}: the history was read instead")
        return {
            each.event_id: Envelope(each.event_id, each.type, each.occurred_at, each.causation_id)
            for each in found
        }

    def _note_unreadable(self, message: Unreadable) -> None:
        self._notes.append(f"unreadable, skipped: {message.which}: {message.reason}")

    def _reactions(
        self, ids: Collection[UUID]
    ) -> dict[str, tuple[dict[UUID, Entry], dict[UUID, list[Attempt]]]]:
        found = {}
        for service in self.services:
            if service.name not in self._unseen:
                with self.opening(service) as database, database.read() as connection:
                    entries = reactions.entries(connection, ids)
                    found[service.name] = entries, reactions.attempts(connection, ids)
        return found

    def _happening(
        self,
        envelope: Envelope,
        envelopes: Mapping[UUID, Envelope],
        mentions: Mapping[UUID, Mention],
        reacted: Mapping[str, tuple[dict[UUID, Entry], dict[UUID, list[Attempt]]]],
    ) -> Happening:
        topic = topic_of(envelope.type)
        mention = mentions.get(envelope.event_id)
        done = []
        for service in self.services:
            if topics_matched(service.topics, topic):
                entries, attempts = reacted.get(service.name, (None, {}))
                if entries is None:
                    done.append(Reaction(service=service.name, outcome=UNSEEN))
                else:
                    entry = entries.get(envelope.event_id)
                    failed = attempts.get(envelope.event_id, [])
                    done.append(_reaction(service.name, envelope, entry, failed))
        return Happening(
            envelope=envelope,
            depth=_depth(envelope, envelopes),
            cause=envelopes.get(envelope.causation_id) if envelope.causation_id else None,
            is_sent=mention is None or mention.is_sent,
            reactions=done,
        )


def _why_not_kept(keeper: str, missing: int) -> str:
    if not keeper:
        return "no service that keeps envelopes can be seen"
    known = f"has not heard of {missing} of its events yet" if missing else "knows no event of it"
    return f"{keeper} {known}"


def _reaction(
    service: str, envelope: Envelope, entry: Entry | None, failed: Sequence[Attempt]
) -> Reaction:
    at = entry.handled_at if entry else failed[-1].failed_at if failed else None
    return Reaction(
        service=service,
        outcome=_outcome(entry, failed),
        at=at,
        # Clocks of machines differ; nothing is handled before it happened.
        after=max(0.0, (at - envelope.occurred_at).total_seconds()) if at else None,
        attempts=failed,
    )


def _outcome(entry: Entry | None, failed: Sequence[Attempt]) -> str:
    if entry is not None:
        return DISCARDED if entry.outcome == inbox.DISCARDED else HANDLED
    if failed:
        return DEAD if failed[-1].outcome == "dead" else RETRYING
    return WAITING


def _depth(envelope: Envelope, envelopes: Mapping[UUID, Envelope]) -> int:
    """How long the chain of causes is; whoever made a circle of them is told once."""
    seen = {envelope.event_id}
    cause = envelope.causation_id
    while cause is not None and cause in envelopes and cause not in seen:
        seen.add(cause)
        cause = envelopes[cause].causation_id
    return len(seen) - 1
