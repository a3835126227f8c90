"""The catalog of all events, derived from the contracts and the services' declarations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from shared.events import published, wire_type
from shared.events.domain_event import Kind
from shared.events.fields import UNIT
from shared.events.schemas import Schema, event_schema, published_contracts, summary
from shared.runtime.service import AnyService


@dataclass(frozen=True, slots=True)
class CatalogField:
    """One field of an event's data.

    Attributes:
        name: a path such as `items.*`, where `*` stands for each element of a list or a mapping.
        kind: the JSON type.
        limits: such as "1 to 10,000"; empty if the schema has none.
        unit: of a number or an amount; empty if it has none.
    """

    name: str
    kind: str
    limits: str
    unit: str
    is_required: bool
    description: str


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One version of an event.

    Attributes:
        type: the type on the wire.
        topic: the routing key.
        publishers: names of services.
        reactions: by the name of each subscriber, a sentence for each of its handlers.
        schema: the JSON Schema of the whole CloudEvent.
        examples: CloudEvents by the name of the example.
    """

    type: str
    topic: str
    version: int
    description: str
    fields: tuple[CatalogField, ...]
    publishers: tuple[str, ...]
    reactions: dict[str, tuple[str, ...]]
    schema: Schema
    examples: dict[str, dict[str, Any]]


def catalog(services: Sequence[AnyService]) -> list[CatalogEntry]:
    """Return every version of every published event, and of those that only services declare."""
    declared = {kind for service in services for kind in service.publishes if kind.topic}
    contracts = declared.union(published_contracts())
    return [_entry(contract, services) for contract in sorted(contracts, key=wire_type)]


def _entry(contract: Kind, services: Sequence[AnyService]) -> CatalogEntry:
    type_, schema = wire_type(contract), event_schema(contract)
    reactions = {service.name: tuple(_reactions(service, contract)) for service in services}
    return CatalogEntry(
        type=type_,
        topic=contract.topic,
        version=contract.version,
        description=summary(contract),
        fields=tuple(_fields(schema["properties"]["data"])),
        publishers=tuple(
            service.name for service in services if issubclass(contract, service.publishes)
        ),
        reactions={name: sentences for name, sentences in reactions.items() if sentences},
        schema=schema,
        examples=published.examples(type_),
    )


def _reactions(service: AnyService, contract: Kind) -> Iterator[str]:
    """The first line of the docstring of each handler of an event."""
    read_as = service.contracts.get(wire_type(contract))
    for kind, handler in service.subscriptions:
        if read_as is not None and issubclass(read_as, kind):
            name = handler.__name__.replace("_", " ")
            yield (handler.__doc__ or f"{name.capitalize()}.").strip().partition("\n")[0]


def _fields(schema: Schema, prefix: str = "") -> Iterator[CatalogField]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        yield _field(f"{prefix}{name}", field, is_required=name in required)
        yield from _fields(_elements(field), f"{prefix}{name}.*.")


def _field(name: str, schema: Schema, *, is_required: bool) -> CatalogField:
    options = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
    schema = schema | options[0]
    elements = _elements(schema)
    kind = str(schema.get("type", "any"))
    if elements:
        kind += f" of {elements.get('type', 'any')}"
    limits = [_limits(schema), _limits(elements) and f"each {_limits(elements)}"]
    unit = schema.get(UNIT) or elements.get(UNIT, "")
    description = str(schema.get("description", ""))
    return CatalogField(name, kind, "; ".join(filter(None, limits)), unit, is_required, description)


def _elements(schema: Schema) -> Schema:
    """The schema of the elements of a list or a mapping; empty for other types."""
    schemas = [schema.get("items"), *schema.get("patternProperties", {}).values()]
    schemas.append(schema.get("additionalProperties"))
    return next((each for each in schemas if isinstance(each, dict)), {})


def _limits(schema: Schema) -> str:
    limits = [
        _range(schema.get("minimum"), schema.get("maximum"), ""),
        _range(schema.get("minLength"), schema.get("maxLength"), " characters"),
        _range(schema.get("minItems"), schema.get("maxItems"), " entries"),
        _range(schema.get("minProperties"), schema.get("maxProperties"), " entries"),
        ", ".join(str(value) for value in schema.get("enum", ())),
    ]
    return "; ".join(filter(None, limits))


def _range(minimum: float | None, maximum: float | None, unit: str) -> str:
    if minimum is not None and maximum is not None:
        return f"{minimum:,} to {maximum:,}{unit}"
    if minimum is not None:
        return f"at least {minimum:,}{unit}"
    return "" if maximum is None else f"at most {maximum:,}{unit}"
