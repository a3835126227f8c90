"""The id and type by which records, logs and dead letters name a delivery.

They come from the body; the message's properties are untrusted and used only if the body is not an
event. Text from outside that is not an id by our own pattern may be anything, such as a mail
address: what is recorded and shown instead is its digest.
"""

import re
from dataclasses import dataclass
from hashlib import sha256

from shared.errors import MalformedEvent, PermanentFailure, error_named
from shared.messaging import codec
from shared.messaging.ports.consumer import Delivery

UNREADABLE = "(unreadable)"

_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
"""As `shared.events.fields.OrderId`."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_SOURCE = re.compile(r"/[a-z][a-z0-9_-]{0,99}")
_TYPE = re.compile(r"[A-Za-z0-9_./:~+-]{1,200}")


def safe_id(text: str) -> str:
    """An id from outside, such as a subject, for logs and records: unchanged, or its digest."""
    return text if _ID.fullmatch(text) else digest_of(text.encode())


def safe_name(text: str) -> str:
    """A type, a routing key or a user from outside: unchanged, or its digest."""
    return text if _NAME.fullmatch(text) else digest_of(text.encode())


def safe_type(text: str) -> str:
    """A type from outside, such as `order.placed.v1`: unchanged, or its digest."""
    return text if _TYPE.fullmatch(text) else digest_of(text.encode())


def safe_source(text: str) -> str:
    """A source from outside, such as `/orders`: unchanged, or its digest."""
    return text if _SOURCE.fullmatch(text) else digest_of(text.encode())


def digest_of(content: bytes) -> str:
    """What stands for content that must not be shown: `sha256:` and 12 hexadecimal digits."""
    return f"sha256:{sha256(content).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class Identity:
    """The name of a delivery, and its envelope.

    Attributes:
        id: the event's id; if the body is not an event, the message's id or `sha256:…` of the body.
        event_type: the event's type, or its digest; if the body is not an event, the message's or
            `UNREADABLE`.
        envelope: None if the body is not an event, or not the one that it claims to be.
        flaw: why the body is not an event, or not the one that it claims to be; None if unknown.
    """

    id: str
    event_type: str
    envelope: codec.Envelope | None
    flaw: PermanentFailure | None = None

    @classmethod
    def of(cls, delivery: Delivery) -> "Identity":
        """Identify a delivery; never raises."""
        try:
            envelope = codec.read(delivery.body, flaw=delivery.flaw)
        except MalformedEvent as flaw:
            event_type = delivery.type if _TYPE.fullmatch(delivery.type) else UNREADABLE
            is_safe = _ID.fullmatch(delivery.event_id)
            name = delivery.event_id if is_safe else digest_of(delivery.body)
            return cls(name, event_type, None, flaw)
        return cls(str(envelope.id), safe_type(envelope.type), envelope)

    @classmethod
    def of_failed(cls, delivery: Delivery, error: str) -> "Identity":
        """Identify a delivery that failed with an error of this class.

        A forged message may hold the id of another event, for which its failure must not count.
        """
        identity = cls.of(delivery)
        failed_with = error_named(error)
        is_owner = failed_with is None or failed_with.owns_event_id
        return identity if is_owner else identity.by_content(delivery)

    def by_content(self, delivery: Delivery) -> "Identity":
        """The identity of a message by its user and its body, not by the id that it holds."""
        content = delivery.user.encode() + b"\0" + delivery.body
        return Identity(digest_of(content), self.event_type, None)

    @property
    def subject(self) -> str | None:
        """The event's subject, such as an order's id, or its digest; None if it has none."""
        subject = self.envelope.subject if self.envelope else None
        return None if subject is None else safe_id(subject)
