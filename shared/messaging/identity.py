"""The id and type by which records, logs and dead letters name a delivery.

They come from the body; the message's properties are untrusted and used only if the body is not an
event.
"""

import re
from dataclasses import dataclass
from hashlib import sha256

from shared.errors import MalformedEvent
from shared.messaging import codec
from shared.messaging.ports.consumer import Delivery

UNREADABLE = "(unreadable)"

_SAFE_ID = re.compile(r"[!-?A-~]{1,100}")
_SAFE_TYPE = re.compile(r"[a-z0-9_.-]{1,100}")
"""What untrusted properties may be recorded and shown: no spaces, no mail address."""


def plain_id(text: str) -> str:
    """Return an untrusted id unchanged if it is safe to record and show, else an empty string."""
    return text if _SAFE_ID.fullmatch(text) else ""


@dataclass(frozen=True, slots=True)
class Identity:
    """The name of a delivery, and its envelope.

    Attributes:
        id: the event's id; if the body is not an event, the message's id or `sha256:…` of the body.
        event_type: the event's type; if the body is not an event, the message's or `UNREADABLE`.
        envelope: None if the body is not an event.
        flaw: why the body is not an event; None if it is one.
    """

    id: str
    event_type: str
    envelope: codec.Envelope | None
    flaw: MalformedEvent | None = None

    @classmethod
    def of(cls, delivery: Delivery) -> "Identity":
        """Identify a delivery; never raises."""
        try:
            envelope = codec.read(delivery.body, flaw=delivery.flaw)
        except MalformedEvent as flaw:
            digest = sha256(delivery.body).hexdigest()[:12]
            event_type = delivery.type if _SAFE_TYPE.fullmatch(delivery.type) else UNREADABLE
            return cls(plain_id(delivery.event_id) or f"sha256:{digest}", event_type, None, flaw)
        return cls(str(envelope.id), envelope.type, envelope)

    @property
    def subject(self) -> str | None:
        """The event's subject, such as an order's id; None if it has none."""
        return self.envelope.subject if self.envelope else None
