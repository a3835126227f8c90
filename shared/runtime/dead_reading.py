"""One dead letter: what it is, and what it died of.

Nothing in it is trusted: neither its properties nor its body need be an event's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from shared.errors import MalformedEvent
from shared.messaging import cloudevents
from shared.messaging.port import Consumer, Delivery
from shared.runtime.suspicion import UNREADABLE, printable
from shared.storage import failures, inbox

APPLIED = "applied"
DISCARDED = "discarded"
"""In place of an error: the inbox has it, so it was handled, or discarded, after all."""

_SETTLED = {inbox.HANDLED: APPLIED, inbox.DISCARDED: DISCARDED}

_HOPELESS = frozenset({"MalformedEvent", "EventTooLarge"})
"""Errors of what nobody can mend: it will never be handled."""

_REASONS = frozenset({"rejected", "delivery_limit", "expired", "maxlen"})
"""A broker's words for why a message is dead; any other is a stranger's."""

_SHORTEST_END = 6
"""Characters of an id's end that will do for the whole."""


class Held(NamedTuple):
    """What settles a letter: the delivery, without its body, and the consumer that holds it."""

    consumer: Consumer
    delivery: Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter, without its body.

    Attributes:
        id: the event's id; of what is no event, the message's; failing that, `sha256:…`.
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

    @property
    def is_settled(self) -> bool:
        """Whether the inbox has it, so that nothing is left to be done."""
        return self.is_event and self.error in (APPLIED, DISCARDED)

    @property
    def is_hopeless(self) -> bool:
        """Whether nobody can mend it: it is no event, or its data is not that of its type."""
        return self.error in _HOPELESS

    @property
    def names(self) -> tuple[str, str]:
        """Under which of them its failures were recorded: of what is malformed, by property."""
        return self.id, printable(self.held.delivery.event_id)

    def is_named(self, name: str) -> bool:
        """Whether somebody means this one: by its id, or by the end of it."""
        return self.id == name or (len(name) >= _SHORTEST_END and self.id.endswith(name))


@dataclass(frozen=True, slots=True)
class Reading:
    """What a delivery is, as far as it can be read.

    Attributes:
        id: what to call it by.
        envelope: None where it is no event.
        flaw: why it is none.
    """

    delivery: Delivery
    id: str
    envelope: cloudevents.Envelope | None
    flaw: str = ""

    @classmethod
    def of(cls, delivery: Delivery) -> "Reading":
        """It, whatever it is."""
        try:
            envelope = cloudevents.read(delivery.body)
        except MalformedEvent as error:
            said = printable(delivery.event_id)
            known = said not in ("", UNREADABLE)
            name = said if known else f"sha256:{sha256(delivery.body).hexdigest()[:12]}"
            return cls(delivery, name, None, flaw=type(error).__name__)
        return cls(delivery, str(envelope.id), envelope)

    @property
    def names(self) -> tuple[str, str]:
        """Under which of them its failures were recorded: what is malformed, by its property."""
        return self.id, printable(self.delivery.event_id)

    def letter(
        self, consumer: Consumer, *, outcome: str | None, causes: Mapping[int, failures.Cause]
    ) -> Letter:
        """Its summary, with what inbox and records say of it."""
        envelope, delivery = self.envelope, self.delivery
        cause = causes.get(delivery.replays) or (causes[max(causes)] if causes else None)
        occurred_at = envelope.time if envelope else None
        reason = delivery.reason if delivery.reason in _REASONS else "unknown"
        return Letter(
            id=self.id,
            is_event=envelope is not None,
            event_type=envelope.type if envelope else printable(delivery.type) or UNREADABLE,
            subject=envelope.subject if envelope else None,
            occurred_at=occurred_at,
            error=_SETTLED.get(outcome or "") or self.flaw or (cause.error if cause else reason),
            at=cause.failed_at if cause else occurred_at,
            replays=delivery.replays,
            held=Held(consumer, replace(delivery, body=b"")),
        )
