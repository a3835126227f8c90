"""What is told of one order: each event, and what each service did with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.storage.event_audit import EventSummary, FailedAttempt

HANDLED = "handled"
DISCARDED = "discarded"
DEAD = "dead"
REDRIVEN = "sent again"
RETRYING = "retrying"
WAITING = "waiting"
UNKNOWN = "unknown"
UNSEEN = "unseen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What one service did with one event.

    Attributes:
        outcome: `handled`, `discarded`, `dead`, `sent again` by a person after it was dead,
            `retrying`, `waiting`; `unknown` where nothing waits for the service any more, which
            joined later or has forgotten; `unseen` where its database cannot be looked into.
        at: when it was handled, or failed last.
        after: seconds from the event to then.
        attempts: those that failed.
    """

    service: str
    outcome: str
    at: datetime | None = None
    after: float | None = None
    attempts: Sequence[FailedAttempt] = ()

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
class TimelineEntry:
    """An event of the story.

    Attributes:
        depth: how many events led to it, of those of this order.
        cause: the event that caused it; None for a person's act, or where it is of another order.
        is_sent: the broker has it.
    """

    envelope: EventSummary
    depth: int
    cause: EventSummary | None
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
    entries: Sequence[TimelineEntry]
    notes: Sequence[str]
    is_certain: bool = True
