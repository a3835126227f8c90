"""The contracts as JSON Schemas (2020-12), for consumers in other languages.

A schema describes the whole CloudEvent, with the event's own fields under `data`. Every event of
its version is valid against it, from the first to the newest, so a field that was added later is
optional. Readers must ignore unknown fields.
"""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

import shared.events
from shared.events.domain_event import ENVELOPE, DomainEvent, Kind, wire_type

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def published_contracts() -> list[Kind]:
    """Every version of every contract that `shared.events` exports, sorted by type on the wire."""
    exported = (getattr(shared.events, name) for name in shared.events.__all__)
    events = (each for each in exported if isinstance(each, type) and issubclass(each, DomainEvent))
    return sorted((each for each in events if each.topic), key=wire_type)


def event_schema(contract: Kind) -> Schema:
    """The JSON Schema of a contract's CloudEvent."""
    text = {"type": "string", "minLength": 1}
    uuid = {"type": "string", "format": "uuid"}
    type_ = wire_type(contract)
    properties: Schema = {
        "specversion": {"const": "1.0"},
        "id": uuid | {"description": "every copy of the event has the same id"},
        "source": text | {"description": "the service that published it, such as /orders"},
        "type": {"const": type_},
        "subject": text | {"description": "the order's id"},
        "time": {"type": "string", "format": "date-time", "description": "when it happened"},
        "datacontenttype": {"const": "application/json"},
        "correlationid": uuid | {"description": "the same for all events of one conversation"},
        "causationid": uuid | {"description": "the id of the event that caused this one"},
        "data": data_schema(contract),
    }
    return {
        "$schema": DIALECT,
        "title": type_,
        "description": summary(contract),
        "type": "object",
        "properties": properties,
        "required": ["specversion", "id", "source", "type", "time", "data"],
    }


def data_schema(contract: Kind) -> Schema:
    """The JSON Schema of a contract's own fields, without `$ref`."""
    whole = contract.model_json_schema(schema_generator=_WithoutTitles)
    own = {name: field for name, field in whole["properties"].items() if name not in ENVELOPE}
    required = [name for name in whole.get("required", []) if name not in ENVELOPE]
    schema = {"type": "object", "properties": own} | ({"required": required} if required else {})
    inlined: Schema = _inlined(schema, whole.get("$defs", {}))
    return inlined


def summary(contract: Kind) -> str:
    """The first paragraph of a contract's docstring: what happened."""
    return (contract.__doc__ or "").partition("\n\n")[0]


class _WithoutTitles(GenerateJsonSchema):
    """Omits titles: pydantic derives them from the field names."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002 - pydantic's own shape
        return False


def _inlined(schema: Any, definitions: Schema) -> Any:  # noqa: ANN401 - JSON of any shape
    """Replace references by their definitions: as part of another schema they would not resolve."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    whole = definitions[name] | schema if name else schema
    return {key: _inlined(item, definitions) for key, item in whole.items() if key != "$ref"}
