"""Encodes and decodes events: CloudEvents 1.0 in structured JSON mode. Needs no broker.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json, to_json

from shared.errors import EventTooLarge, MalformedEvent, UnsupportedVersion
from shared.events import ENVELOPE, DomainEvent, UnknownEvent, topic_of, versions
from shared.events.fields import first_error, in_utc
from shared.messaging.ports.publisher import Message

CONTENT_TYPE = "application/cloudevents+json"
LARGEST_EVENT_BYTES = 1024 * 1024

MAX_SEPARATORS = 10_000
"""Of the characters { [ , : in a body. A body of 1 MiB of `{}` would take 60 times its size in
memory when it is parsed; the largest order, of 100 lines, has 220."""

_BYTES_PER_BYTE = 6
_BYTES_PER_SEPARATOR = 200
"""Measured with the bodies that take most: text with one character outside the Basic Multilingual
Plane, and objects in one another."""

Contracts = Mapping[str, type[DomainEvent]]
"""The class that a reader gets for each type on the wire; see `shared.events.versions`."""

_PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+$"
"""PostgreSQL cannot store NUL, a log line must not contain a line break, and a terminal interprets
control characters and those that change the direction of text."""


class Envelope(BaseModel):
    """The attributes that every CloudEvent has, whatever its type; `data` is not validated."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    specversion: Literal["1.0"]
    id: UUID
    source: Annotated[str, Field(max_length=200, pattern=_PRINTABLE, description="printable")]
    type: Annotated[str, Field(max_length=200, pattern=r"^[a-z0-9_.-]+$", description="a type")]
    subject: Annotated[str, Field(max_length=200, pattern=_PRINTABLE)] | None = None
    time: Annotated[AwareDatetime, AfterValidator(in_utc)]
    datacontenttype: Literal["application/json"] = "application/json"
    correlationid: UUID | None = None
    causationid: UUID | None = None
    data: dict[str, Any] = Field(default_factory=dict)


def encode(event: DomainEvent, *, source: str) -> bytes:
    """Encode an event as a CloudEvent.

    Args:
        source: name of the service that publishes it.

    Raises:
        EventTooLarge: the result is larger than 1 MiB.
    """
    envelope = {
        "specversion": "1.0",
        "id": event.event_id,
        "source": f"/{source}",
        "type": event.type,
        "subject": event.subject,
        "time": event.occurred_at,
        "datacontenttype": "application/json",
        "correlationid": event.correlation_id,
        "causationid": event.causation_id,
        "data": _data(event),
    }
    body = to_json({key: value for key, value in envelope.items() if value is not None})
    if len(body) > LARGEST_EVENT_BYTES:
        event_name = f"{event.type} {event.event_id}"
        raise EventTooLarge(f"{event_name} has {len(body)} bytes; the limit is 1 MiB")
    return body


def _data(event: DomainEvent) -> Any:  # noqa: ANN401 - JSON of any shape
    if isinstance(event, UnknownEvent):
        return event.model_dump(mode="json", include={"data"})["data"]
    return event.model_dump(mode="json", exclude=set(ENVELOPE))


def message_of(event: DomainEvent, *, source: str, body: bytes | None = None) -> Message:
    """The message that publishes an event to every subscribed service.

    Args:
        source: the service that publishes it.
        body: the encoded event, where the caller has it already; encoded here by default.

    Raises:
        EventTooLarge: above 1 MiB.
    """
    return Message(
        event_id=str(event.event_id),
        topic=topic_of(event.type),
        type=event.type,
        body=encode(event, source=source) if body is None else body,
        source=source,
        correlation_id=str(event.correlation_id or ""),
        occurred_at=event.occurred_at,
    )


def decode(body: bytes, contracts: Contracts, *, flaw: str = "") -> DomainEvent:
    """Decode the body of a message to an event.

    Args:
        contracts: the types that the reader knows; any other becomes an `UnknownEvent`.
        flaw: why the message cannot be an event, such as `Delivery.flaw`; usually empty.

    Raises:
        MalformedEvent: the body is not a valid event; the message names the field but no value.
        EventTooLarge: the body is larger than 1 MiB; it is not parsed.
        UnsupportedVersion: the event cannot be converted to the reader's version.
    """
    return event_of(read(body, flaw=flaw), contracts)


def event_of(envelope: Envelope, contracts: Contracts) -> DomainEvent:
    """Make the event of a decoded envelope; see `decode`.

    Raises:
        MalformedEvent: the data is not that of the event's type.
        UnsupportedVersion: the event cannot be converted to the reader's version.
    """
    wanted = contracts.get(envelope.type)
    if wanted is None:
        unknown = {"unknown_type": envelope.type, "about": envelope.subject, "data": envelope.data}
        return _event(UnknownEvent, envelope, unknown)
    event = _event(versions.written_as(envelope.type, wanted), envelope, envelope.data)
    try:
        return versions.convert(event, wanted)
    except ValueError:
        raise UnsupportedVersion(
            f"{envelope.type} {envelope.id} cannot be converted to v{wanted.version}"
        ) from None  # the original error could contain a value


def _event(contract: type[DomainEvent], envelope: Envelope, data: dict[str, Any]) -> DomainEvent:
    envelope_fields = {
        "event_id": envelope.id,
        "occurred_at": envelope.time,
        "correlation_id": envelope.correlationid,
        "causation_id": envelope.causationid,
    }
    try:
        return contract.model_validate(data | envelope_fields)
    except ValidationError as error:
        raise MalformedEvent(
            f"{envelope.type}: data.{first_error(error, contract)}"
        ) from None  # the original error could contain a value


def read(body: bytes, *, flaw: str = "") -> Envelope:
    """Decode the envelope in the body of a message.

    Args:
        flaw: why the message cannot be an event, such as `Delivery.flaw`; usually empty.

    Raises:
        MalformedEvent: the body is not a CloudEvent; the message names the field but no value.
        EventTooLarge: the body is larger than 1 MiB; it is not parsed.
    """
    if flaw:
        raise MalformedEvent(flaw)
    try:
        return Envelope.model_validate(parse(body))
    except ValidationError as error:
        raise MalformedEvent(f"not a CloudEvent: {first_error(error, Envelope)}") from None


def parse(body: bytes) -> dict[str, Any]:
    """Parse a body that is a JSON object, with bounded memory.

    Raises:
        MalformedEvent: it is not a JSON object, or it has too many values.
        EventTooLarge: it is larger than 1 MiB; it is not parsed.
    """
    if len(body) > LARGEST_EVENT_BYTES:
        raise EventTooLarge(f"the message has {len(body)} bytes; the limit is 1 MiB")
    if _separators(body) > MAX_SEPARATORS:
        raise MalformedEvent(f"the message has more than {MAX_SEPARATORS} of {{ [ , :")
    try:
        parsed = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise MalformedEvent("the message is not JSON") from None
    if not isinstance(parsed, dict):
        raise MalformedEvent("the message is JSON, but not an object")
    return parsed


def memory_of(body: bytes) -> int:
    """Bytes that a body and the event in it take at most, for budgets of what is held at a time."""
    separators = _separators(body) if len(body) <= LARGEST_EVENT_BYTES else MAX_SEPARATORS + 1
    if separators > MAX_SEPARATORS:
        return len(body)  # it is not parsed
    return _BYTES_PER_BYTE * len(body) + _BYTES_PER_SEPARATOR * separators


def _separators(body: bytes) -> int:
    """How many values, keys and containers a JSON text has at most, without parsing it."""
    return len(body) - len(body.translate(None, b"{[,:"))
