"""A dead letter: which event it is and why it is dead. Its properties and body are untrusted."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from shared.errors import error_named
from shared.messaging.identity import Identity, safe_source
from shared.messaging.ports.consumer import Consumer, Delivery
from shared.storage import failures, inbox

APPLIED = "applied"
DISCARDED = "discarded"
"""Shown instead of an error if the inbox has the event as handled, or discarded."""

MIN_ID_SUFFIX = 6
"""How many characters at the end of an id select a letter."""

_BY_INBOX_OUTCOME = {inbox.HANDLED: APPLIED, inbox.DISCARDED: DISCARDED}

_BROKER_REASONS = frozenset({"rejected", "delivery_limit", "expired", "maxlen"})
"""The reasons that brokers give for a dead letter; any other is untrusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A dead letter without its body.

    Attributes:
        id: the event's; of a message that is not an event, the id of its `Identity`.
        is_event: whether the body is an event, of whatever type, and neither forged nor in
            conflict with another event.
        source: the service that published it; empty if it is not an event.
        error: class of the error it died of, or the broker's reason where none was recorded, or
            `APPLIED` or `DISCARDED`.
        at: when it died, or when the event occurred if that was not recorded; None if unknown.
        replays: how often it has been redriven.
        delivery: without its body.
        consumer: holds the delivery and can settle it.
    """

    id: str
    is_event: bool
    event_type: str
    subject: str | None
    source: str
    occurred_at: datetime | None
    error: str
    at: datetime | None
    replays: int
    delivery: Delivery
    consumer: Consumer

    @classmethod
    def of(
        cls,
        delivery: Delivery,
        consumer: Consumer,
        *,
        identity: Identity,
        outcome: str | None,
        causes: Mapping[int, failures.FinalFailure],
    ) -> "DeadLetter":
        """Summarize a delivery from a dead queue.

        Args:
            outcome: the inbox's outcome of the event; None if the inbox does not have it.
            causes: the recorded causes of death, by number of replays.
        """
        envelope = identity.envelope
        cause = causes.get(delivery.replays) or (causes[max(causes)] if causes else None)
        occurred_at = envelope.time if envelope else None
        if outcome is not None:
            error = _BY_INBOX_OUTCOME[outcome]
        elif identity.flaw is not None:
            error = type(identity.flaw).__name__
        elif cause is not None:
            error = cause.error
        else:
            error = delivery.reason if delivery.reason in _BROKER_REASONS else "unknown"
        return cls(
            id=identity.id,
            is_event=envelope is not None,
            event_type=identity.event_type,
            subject=identity.subject,
            source=safe_source(envelope.source).removeprefix("/") if envelope else "",
            occurred_at=occurred_at,
            error=error,
            at=cause.failed_at if cause else occurred_at,
            replays=delivery.replays,
            delivery=replace(delivery, body=b""),
            consumer=consumer,
        )

    @property
    def broker_reason(self) -> str | None:
        """The broker's own word for why it is dead; None if it gave none."""
        return self.delivery.reason if self.delivery.reason in _BROKER_REASONS else None

    @property
    def is_settled(self) -> bool:
        """Whether the inbox has the event, so that it must not be redriven."""
        return self.is_event and self.error in (APPLIED, DISCARDED)

    @property
    def may_succeed_on_redrive(self) -> bool:
        """Whether it may succeed on a redrive, as its error's class says."""
        error = error_named(self.error)
        return error is None or error.may_succeed_on_redrive

    def has_id(self, letter_id: str) -> bool:
        """Whether this is its id, or the end of it with at least `MIN_ID_SUFFIX` characters."""
        is_suffix = len(letter_id) >= MIN_ID_SUFFIX and self.id.endswith(letter_id)
        return is_suffix or self.id == letter_id
