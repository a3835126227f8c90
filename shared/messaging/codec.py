"""Encodes and decodes events: CloudEvents 1.0 in structured JSON mode. Needs no broker.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from shared.errors import MalformedEvent, OutgoingEventTooLarge, UnsupportedVersion
from shared.events import ENVELOPE, DomainEvent, UnknownEvent, topic_of, versions
from shared.events.fields import RECEIVED, first_error
from shared.messaging.envelope import JSON_CONTENT, Envelope, read
from shared.messaging.parsing import (
    LARGEST_EVENT_BYTES,
    MAX_SEPARATORS,
    has_too_many_values,
    memory_of,
    parse_object,
)
from shared.messaging.ports.publisher import Message

__all__ = [
    "CONTENT_TYPE",
    "LARGEST_EVENT_BYTES",
    "Contracts",
    "Envelope",
    "decode",
    "encode",
    "event_of",
    "memory_of",
    "message_of",
    "parse_object",
    "read",
]

CONTENT_TYPE = "application/cloudevents+json"

Contracts = Mapping[str, type[DomainEvent]]
"""The class that a reader gets for each type on the wire; see `shared.events.versions`."""


def encode(event: DomainEvent, *, source: str) -> bytes:
    """Encode an event as a CloudEvent.

    Args:
        source: name of the service that publishes it.

    Raises:
        OutgoingEventTooLarge: readers would refuse the result for its size.
    """
    envelope = {
        "specversion": "1.0",
        "id": event.event_id,
        "source": f"/{source}",
        "type": event.type,
        "subject": event.subject,
        "time": event.occurred_at,
        "datacontenttype": JSON_CONTENT,
        "correlationid": event.correlation_id,
        "causationid": event.causation_id,
        **_data(event),
    }
    body = to_json({key: value for key, value in envelope.items() if value is not None})
    if len(body) > LARGEST_EVENT_BYTES or has_too_many_values(body):
        raise OutgoingEventTooLarge(
            f"{event.type} {event.event_id}, which should be published, has {len(body)} bytes; "
            f"the limit is 1 MiB, and {MAX_SEPARATORS} of {{ [ , :"
        )
    return body


def _data(event: DomainEvent) -> dict[str, Any]:
    if not isinstance(event, UnknownEvent):
        return {"data": event.model_dump(mode="json", exclude=set(ENVELOPE))}
    member = "data_base64" if isinstance(event.data, bytes) else "data"
    data = event.model_dump(mode="json", include={"data"})["data"]
    return {"datacontenttype": event.content_type or None, member: data}


def message_of(event: DomainEvent, *, source: str, body: bytes | None = None) -> Message:
    """The message that publishes an event to every subscribed service.

    Args:
        source: the service that publishes it.
        body: the encoded event, where the caller has it already; encoded here by default.

    Raises:
        OutgoingEventTooLarge: see `encode`.
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
        return _event(UnknownEvent, envelope, _unknown(envelope))
    event = _event(versions.written_as(envelope.type, wanted), envelope, _fields(envelope))
    try:
        return versions.convert(event, wanted)
    except ValueError:
        raise UnsupportedVersion(
            f"{envelope.type} {envelope.id} cannot be converted to v{wanted.version}"
        ) from None  # the original error could contain a value


def _unknown(envelope: Envelope) -> dict[str, Any]:
    return {
        "unknown_type": envelope.type,
        "about": envelope.subject,
        "content_type": envelope.content_type,
        "data": envelope.data,
    }


def _fields(envelope: Envelope) -> dict[str, Any]:
    """The data of an event whose type has a contract: a JSON object."""
    if not envelope.has_json:
        raise MalformedEvent(f"{envelope.type}: datacontenttype should be {JSON_CONTENT}")
    if not isinstance(envelope.data, dict):
        raise MalformedEvent(f"{envelope.type}: data should be an object")
    return envelope.data


def _event(contract: type[DomainEvent], envelope: Envelope, data: dict[str, Any]) -> DomainEvent:
    envelope_fields = {
        "event_id": envelope.id,
        "occurred_at": envelope.time,
        "correlation_id": envelope.correlationid,
        "causation_id": envelope.causationid,
    }
    try:
        return contract.model_validate(data | envelope_fields, context=RECEIVED)
    except ValidationError as error:
        raise MalformedEvent(
            f"{envelope.type}: data.{first_error(error, contract)}"
        ) from None  # the original error could contain a value
