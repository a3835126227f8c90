"""One dead letter: what it is, and what it died of.

Nothing in it is trusted: neither its properties nor its body need be an event's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from shared.messaging.identity import Identity
from shared.messaging.ports.consumer import Consumer, Delivery
from shared.storage import failures, inbox

APPLIED = "applied"
DISCARDED = "discarded"
"""In place of an error: the inbox has it, so it was handled, or discarded, after all."""

_SETTLED = {inbox.HANDLED: APPLIED, inbox.DISCARDED: DISCARDED}

_NOT_RETRYABLE = frozenset({"MalformedEvent", "EventTooLarge"})
"""Errors of what nobody can mend: it will never be handled."""

_REASONS = frozenset({"rejected", "delivery_limit", "expired", "maxlen"})
"""A broker's words for why a message is dead; any other is a stranger's."""

SHORTEST_END = 6
"""Characters of an id's end that will do for the whole."""


class Held(NamedTuple):
    """What settles a letter: the delivery, and the consumer that holds it."""

    consumer: Consumer
    delivery: Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter, without its body.

    Attributes:
        id: as its `Identity` has it.
        is_event: whether its body is an event, of whatever type.
        error: class of what it died of, the broker's word where that was not recorded; `APPLIED`
            or `DISCARDED` where the inbox has it.
        at: when it died, if that was recorded, else when it occurred; None if nobody knows.
        replays: how often it has been retried before.
    """

    id: str
    is_event: bool
    event_type: str
    subject: str | None
    occurred_at: datetime | None
    error: str
    at: datetime | None
    replays: int
    held: Held

    @classmethod
    def of(
        cls,
        identity: Identity,
        held: Held,
        *,
        outcome: str | None,
        causes: Mapping[int, failures.FinalFailure],
    ) -> "Letter":
        """One that is held, with what inbox and records say of it; its body is let go.

        Args:
            outcome: what the inbox says became of it; None if it does not know it.
            causes: what it died of, by the number of its replays.
        """
        envelope, delivery = identity.envelope, held.delivery
        cause = causes.get(delivery.replays) or (causes[max(causes)] if causes else None)
        occurred_at = envelope.time if envelope else None
        reason = delivery.reason if delivery.reason in _REASONS else "unknown"
        flaw = type(identity.flaw).__name__ if identity.flaw else ""
        return cls(
            id=identity.id,
            is_event=envelope is not None,
            event_type=identity.event_type,
            subject=identity.subject,
            occurred_at=occurred_at,
            error=_SETTLED.get(outcome or "") or flaw or (cause.error if cause else reason),
            at=cause.failed_at if cause else occurred_at,
            replays=delivery.replays,
            held=Held(held.consumer, replace(delivery, body=b"")),
        )

    @property
    def is_settled(self) -> bool:
        """Whether the inbox has it, so that nothing is left to be done."""
        return self.is_event and self.error in (APPLIED, DISCARDED)

    @property
    def is_not_retryable(self) -> bool:
        """Whether nobody can mend it: it is no event, or its data is not that of its type."""
        return self.error in _NOT_RETRYABLE

    def is_named(self, name: str) -> bool:
        """Whether somebody means this one: by its id, or by the end of it."""
        return self.id == name or (len(name) >= SHORTEST_END and self.id.endswith(name))
