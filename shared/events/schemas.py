"""The contracts as JSON Schemas (2020-12), for those who read events in another language.

A schema says what holds for every event of its version, from the first that was sent to the last:
a field that was added later is optional. It is the whole CloudEvent, with the event's own fields
under `data`; a reader ignores fields that it does not know.
"""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

import shared.events
from shared.events.domain_event import ENVELOPE, DomainEvent, Kind, wire_type

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def published_contracts() -> list[Kind]:
    """Every version of every event that is a contract: what `shared.events` exports."""
    exported = (getattr(shared.events, name) for name in shared.events.__all__)
    contracts = {
        each for each in exported if isinstance(each, type) and issubclass(each, DomainEvent)
    }
    return sorted((each for each in contracts if each.topic), key=wire_type)


def event_schema(contract: Kind) -> Schema:
    """The schema of an event as it is on the wire, a CloudEvent."""
    text = {"type": "string", "minLength": 1}
    uuid = {"type": "string", "format": "uuid"}
    type_ = wire_type(contract)
    properties: Schema = {
        "specversion": {"const": "1.0"},
        "id": uuid | {"description": "the same fact has the same id, however often it comes"},
        "source": text | {"description": "the service that says so, such as /orders"},
        "type": {"const": type_},
        "subject": text | {"description": "what it is about: the order's id"},
        "time": {"type": "string", "format": "date-time", "description": "when it happened"},
        "datacontenttype": {"const": "application/json"},
        "correlationid": uuid | {"description": "the conversation that it belongs to"},
        "causationid": uuid | {"description": "the id of the event that caused this one"},
        "data": data_schema(contract),
    }
    return {
        "$schema": DIALECT,
        "title": type_,
        "description": says(contract),
        "type": "object",
        "properties": properties,
        "required": ["specversion", "id", "source", "type", "time", "data"],
    }


def data_schema(contract: Kind) -> Schema:
    """The schema of an event's own fields."""
    made = contract.model_json_schema(schema_generator=_WithoutTitles)
    own = {name: field for name, field in made["properties"].items() if name not in ENVELOPE}
    required = [name for name in made.get("required", []) if name not in ENVELOPE]
    schema = {"type": "object", "properties": own} | ({"required": required} if required else {})
    inlined: Schema = _inlined(schema, made.get("$defs", {}))
    return inlined


def says(contract: Kind) -> str:
    """What happened, in a sentence."""
    return (contract.__doc__ or "").partition("\n\n")[0]


class _WithoutTitles(GenerateJsonSchema):
    """A title made from a field's name says nothing that the name does not."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002 - pydantic's own shape
        return False


def _inlined(schema: Any, definitions: Schema) -> Any:  # noqa: ANN401 - JSON of any shape
    """Without references, which would point elsewhere once a schema is a part of another."""
    if isinstance(schema, list):
        return [_inlined(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    found = definitions[name] | schema if name else schema
    return {key: _inlined(each, definitions) for key, each in found.items() if key != "$ref"}
