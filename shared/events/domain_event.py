"""What every domain event is: an immutable fact, named in the past tense.

Guarantees: an event cannot be changed after it was made, all the way down; its times are aware
and in UTC; a type that this code does not know is still an event (`UnknownEvent`).
"""

import os
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Never, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer

from shared.events.fields import in_utc


class EventIsImmutable(AttributeError):
    """A domain event is a fact: it cannot be changed, only followed by another."""


def uuid7() -> UUID:
    """A UUID whose order is that of its making, to the millisecond (RFC 9562, section 5.7).

    The standard library has it from Python 3.14 on; this project runs from 3.11.
    """
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    number = (milliseconds & (1 << 48) - 1) << 80 | random
    number = number & ~(0xF << 76) | 0x7 << 76
    return UUID(int=number & ~(0x3 << 62) | 0x2 << 62)


def _now() -> datetime:
    return datetime.now(UTC)


Kind = type["DomainEvent"]
"""A class of events; within them `type` is their type on the wire."""


class DomainEvent(BaseModel):
    """The base of all events; subscribing to it means every event there will ever be.

    Attributes:
        topic: what happened, and the routing key, such as `order.placed`; empty for a base class.
        version: of the data's shape; a change that breaks a reader takes the next number.
        previous: the version before, where `upcast`, and perhaps `downcast`, converts.
        event_id: UUIDv7; the same fact has the same id, however often it is delivered.
        occurred_at: aware, UTC.
        correlation_id: the conversation it belongs to; filled in by the runtime.
        causation_id: the event that caused this one, None for a person's act; likewise.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    topic: ClassVar[str] = ""
    version: ClassVar[int] = 1
    previous: ClassVar["Kind | None"] = None

    event_id: UUID = Field(default_factory=uuid7)
    occurred_at: Annotated[AwareDatetime, AfterValidator(in_utc)] = Field(default_factory=_now)
    correlation_id: UUID | None = None
    causation_id: UUID | None = None

    @property
    def type(self) -> str:
        """The type on the wire, such as `order.placed.v1`."""
        return wire_type(self.__class__)

    @property
    def subject(self) -> str | None:
        """What the event is about, an order's id as a rule."""
        return None

    @classmethod
    def upcast(cls, older: Any) -> Self:  # noqa: ANN401 - the class that `previous` names
        """What an event of the previous version says, in this one; see `versions.rewritten`."""
        raise NotImplementedError(f"{cls.__name__} has a previous version, and no upcast")

    def downcast(self) -> "DomainEvent":
        """What this event says, in the previous version; not defined where that has no words."""
        raise NotImplementedError(f"{type(self).__name__} has no downcast")

    def __setattr__(self, name: str, value: object) -> Never:
        raise EventIsImmutable(f"{type(self).__name__}.{name} cannot be set: an event is a fact")

    def __delattr__(self, name: str) -> Never:
        raise EventIsImmutable(f"{type(self).__name__}.{name} stays: an event is a fact")

    def __hash__(self) -> int:
        return hash(self.event_id)


ENVELOPE = frozenset(DomainEvent.model_fields)
"""The fields that stand on the envelope; all others of an event are its data."""


def _frozen(value: Any) -> Any:  # noqa: ANN401 - JSON of any shape
    if isinstance(value, Mapping):
        return MappingProxyType({key: _frozen(each) for key, each in value.items()})
    return tuple(_frozen(each) for each in value) if isinstance(value, list | tuple) else value


def _thawed(value: Any) -> Any:  # noqa: ANN401 - JSON of any shape
    if isinstance(value, Mapping):
        return {key: _thawed(each) for key, each in value.items()}
    return [_thawed(each) for each in value] if isinstance(value, tuple) else value


class UnknownEvent(DomainEvent):
    """An event of a type or version that this code has no contract for: envelope and raw data."""

    unknown_type: str
    about: str | None = None
    data: Annotated[Any, AfterValidator(_frozen), PlainSerializer(_thawed)] = None

    @property
    def type(self) -> str:
        """The type as it stood on the envelope."""
        return self.unknown_type

    @property
    def subject(self) -> str | None:
        """The subject as it stood on the envelope."""
        return self.about


def wire_type(event_type: type[DomainEvent]) -> str:
    """The type on the wire of a concrete class: `order.placed.v1`."""
    return f"{event_type.topic}.v{event_type.version}"


def topic_of(event_type: str) -> str:
    """The topic of a type on the wire: `order.placed` for `order.placed.v1`.

    A type without a version is returned unchanged.
    """
    return event_type.rpartition(".v")[0] or event_type


def concrete_types(base: type[DomainEvent] = DomainEvent) -> Iterator[type[DomainEvent]]:
    """All contracts that have been imported, at and below a class."""
    if base.topic:
        yield base
    for below in base.__subclasses__():
        yield from concrete_types(below)


def topics_of(subscribed: type[DomainEvent]) -> frozenset[str]:
    """The routing keys that a subscription to a class needs; `#` for `DomainEvent` itself."""
    if subscribed is DomainEvent:
        return frozenset({"#"})
    return frozenset(each.topic for each in concrete_types(subscribed))
