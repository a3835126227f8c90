"""Which event a delivery is, by its body; its properties are a stranger's word.

Records, logs and dead letters all call it by this, so what is kept under an id is found under it.
"""

import re
from dataclasses import dataclass
from hashlib import sha256

from shared.errors import MalformedEvent
from shared.messaging import codec
from shared.messaging.ports.consumer import Delivery

UNREADABLE = "(unreadable)"

_AN_ID = re.compile(r"[!-?A-~]{1,100}")
_A_TYPE = re.compile(r"[a-z0-9_.-]{1,100}")
"""What may be kept and shown of a stranger's properties: no words of a text, and no address."""


def plain_id(text: str) -> str:
    """What a stranger calls a message, if it can be an id; empty if not."""
    return text if _AN_ID.fullmatch(text) else ""


@dataclass(frozen=True, slots=True)
class Identity:
    """What to call a delivery, and what can be read of it.

    Attributes:
        id: the event's; of what is no event, the message's, or else `sha256:…` of its body.
        event_type: the event's; of what is no event, the message's, or else `UNREADABLE`.
        envelope: None where it is no event.
        flaw: why it is none.
    """

    id: str
    event_type: str
    envelope: codec.Envelope | None
    flaw: MalformedEvent | None = None

    @classmethod
    def of(cls, delivery: Delivery) -> "Identity":
        """A delivery's, whatever it is."""
        try:
            envelope = codec.read(delivery.body)
        except MalformedEvent as flaw:
            by_body = f"sha256:{sha256(delivery.body).hexdigest()[:12]}"
            is_type = _A_TYPE.fullmatch(delivery.type)
            return cls(
                plain_id(delivery.event_id) or by_body,
                delivery.type if is_type else UNREADABLE,
                None,
                flaw,
            )
        return cls(str(envelope.id), envelope.type, envelope)

    @property
    def subject(self) -> str | None:
        """What the event is about, such as an order's id."""
        return self.envelope.subject if self.envelope else None
