"""The base class of all domain events: immutable facts, named in the past tense.

Guarantees: an event, including nested values, cannot be changed after its creation; its times are
timezone-aware and in UTC; an event of a type without a contract becomes an `UnknownEvent`.
"""

import os
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Never, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer

from shared.errors import EventIsImmutable
from shared.events.fields import Timestamp


def uuid7() -> UUID:
    """A new UUID that sorts by its time of creation in milliseconds (RFC 9562, section 5.7).

    The standard library has `uuid.uuid7` since Python 3.14; this project supports 3.11.
    """
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    number = (milliseconds & (1 << 48) - 1) << 80 | random
    number = number & ~(0xF << 76) | 0x7 << 76
    return UUID(int=number & ~(0x3 << 62) | 0x2 << 62)


Kind = type["DomainEvent"]
"""A class of events. Needed inside event classes, where `type` is the property."""


class DomainEvent(BaseModel):
    """The base of all events; a subscription to it receives every event, also of future types.

    Attributes:
        topic: the routing key, such as `order.placed`; empty for a base class.
        version: version of the data; a breaking change takes the next number.
        previous: the class of the version before, if `upcast` can convert from it.
        publishers: names of the services that may publish it; readers refuse it from any other.
        event_id: UUIDv7; every copy of the event has the same.
        occurred_at: timezone-aware, UTC.
        correlation_id: the conversation that the event belongs to; set by the runtime.
        causation_id: the event that caused this one, None if a command did; set by the runtime.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    topic: ClassVar[str] = ""
    version: ClassVar[int] = 1
    previous: ClassVar["Kind | None"] = None
    publishers: ClassVar[frozenset[str]] = frozenset()

    event_id: UUID = Field(default_factory=uuid7)
    occurred_at: Timestamp = Field(default_factory=lambda: datetime.now(UTC))
    correlation_id: UUID | None = None
    causation_id: UUID | None = None

    @property
    def type(self) -> str:
        """The type on the wire, such as `order.placed.v1`."""
        return wire_type(self.__class__)

    @property
    def subject(self) -> str | None:
        """The id of what the event is about, usually an order; None by default."""
        return None

    @classmethod
    def upcast(cls, older: Any) -> Self:  # noqa: ANN401 - the class that `previous` names
        """Convert an event of the previous version to this one; see `versions.rewritten`."""
        raise NotImplementedError(f"{cls.__name__} has a previous version but no upcast")

    def downcast(self) -> "DomainEvent":
        """Convert this event to the previous version; optional.

        Raises:
            ValueError: the previous version cannot express this event.
        """
        raise NotImplementedError(f"{type(self).__name__} has no downcast")

    def __setattr__(self, name: str, value: object) -> Never:
        raise EventIsImmutable(f"{type(self).__name__}.{name} cannot be set")

    def __delattr__(self, name: str) -> Never:
        raise EventIsImmutable(f"{type(self).__name__}.{name} cannot be deleted")

    def __hash__(self) -> int:
        return hash(self.event_id)


ENVELOPE = frozenset(DomainEvent.model_fields)
"""Fields on the CloudEvent's envelope; all other fields of an event are its `data`."""


def _freeze(value: Any) -> Any:  # noqa: ANN401 - JSON of any shape
    if isinstance(value, Mapping):
        return MappingProxyType({key: _freeze(item) for key, item in value.items()})
    return tuple(_freeze(item) for item in value) if isinstance(value, list | tuple) else value


def _thaw(value: Any) -> Any:  # noqa: ANN401 - JSON of any shape
    if isinstance(value, Mapping):
        return {key: _thaw(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return [_thaw(item) for item in value] if isinstance(value, tuple) else value


class UnknownEvent(DomainEvent):
    """An event whose type or version has no contract here: the envelope and the raw data.

    Attributes:
        content_type: of the data; empty if the publisher did not give it.
        data: JSON of any shape; text or bytes if the content type is another.
    """

    unknown_type: str
    about: str | None = None
    content_type: str = "application/json"
    data: Annotated[Any, AfterValidator(_freeze), PlainSerializer(_thaw)] = None

    @property
    def type(self) -> str:
        """The type from the envelope."""
        return self.unknown_type

    @property
    def subject(self) -> str | None:
        """The subject from the envelope."""
        return self.about


def wire_type(event_type: type[DomainEvent]) -> str:
    """The type on the wire of a concrete class, such as `order.placed.v1`."""
    return f"{event_type.topic}.v{event_type.version}"


def topic_of(event_type: str) -> str:
    """The topic of a type on the wire; a type without a version is returned unchanged."""
    topic, _, version = event_type.rpartition(".v")
    return topic if version.isdecimal() and topic else event_type


def concrete_types(base: type[DomainEvent] = DomainEvent) -> Iterator[type[DomainEvent]]:
    """Iterate over all imported contracts: a class, if it has a topic, and its subclasses."""
    if base.topic:
        yield base
    for subclass in base.__subclasses__():
        yield from concrete_types(subclass)


def topics_of(subscribed: type[DomainEvent]) -> frozenset[str]:
    """The binding keys that a subscription to a class needs; `#` for `DomainEvent` itself."""
    if subscribed is DomainEvent:
        return frozenset({"#"})
    return frozenset(contract.topic for contract in concrete_types(subscribed))
