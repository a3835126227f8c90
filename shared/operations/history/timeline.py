"""The timeline of one order as data: each event, its cause, and what each service did with it."""

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
        outcome: `handled`; `discarded`; `dead`; `sent again` for one that was redriven and not
            handled since; `retrying` after a failure; `waiting` for the service; `unknown` if there
            is no record and no message waits, because the service subscribed later or its inbox was
            pruned; `unseen` if the service's database cannot be read.
        at: when the event was handled, or when its last attempt failed.
        after: seconds from the event to `at`; None if `at` is before the event.
        clock_difference: seconds by which the clock that the event has its time from is ahead of
            the database's at least; None if they show no difference.
        attempts: the failed attempts, oldest first.
    """

    service: str
    outcome: str
    at: datetime | None = None
    after: float | None = None
    clock_difference: float | None = None
    attempts: Sequence[FailedAttempt] = ()

    @property
    def record(self) -> dict[str, Any]:
        """The fields for JSON output."""
        return {
            "service": self.service,
            "outcome": self.outcome,
            "at": self.at,
            "after_seconds": self.after,
            "clock_difference_seconds": self.clock_difference,
            "failed_attempts": [
                {"error": each.error, "message": each.message, "failed_at": each.failed_at}
                for each in self.attempts
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One event of the timeline.

    Attributes:
        depth: the number of events of this order in its chain of causes.
        cause: the event that caused it; None if a command did, or an event of another order.
        is_sent: whether the broker has it; otherwise it is in an outbox.
        before_cause: seconds by which it occurred before its cause, by other clocks; usually None.
        from_future: seconds by which its time is ahead of this machine's; usually None.
        reactions: one for each service that subscribes to the event.
    """

    envelope: EventSummary
    depth: int
    cause: EventSummary | None
    is_sent: bool
    reactions: Sequence[Reaction]
    before_cause: float | None = None
    from_future: float | None = None

    @property
    def record(self) -> dict[str, Any]:
        """The fields for JSON output."""
        return {
            "event_id": self.envelope.event_id,
            "type": self.envelope.type,
            "occurred_at": self.envelope.occurred_at,
            "causation_id": self.envelope.causation_id,
            "sent": self.is_sent,
            "seconds_before_cause": self.before_cause,
            "seconds_in_future": self.from_future,
            "services": [reaction.record for reaction in self.reactions],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The timeline of one order.

    Attributes:
        entries: by time of occurrence.
        notes: sentences about sources that could not be read, and those read instead.
        is_certain: whether `entries` holds every event of the order; False if the history was
            needed and could not be read.
    """

    order_id: str
    entries: Sequence[TimelineEntry]
    notes: Sequence[str]
    is_certain: bool

    @property
    def record(self) -> dict[str, Any]:
        """The fields for JSON output."""
        return {
            "order_id": self.order_id,
            "is_certain": self.is_certain,
            "events": [entry.record for entry in self.entries],
            "notes": list(self.notes),
        }
