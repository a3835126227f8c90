"""The catalog: what may happen, who says so, who reacts; from contracts and declarations alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from shared.events import published, wire_type
from shared.events.domain_event import Kind
from shared.events.fields import UNIT
from shared.events.schemas import Schema, event_schema, published_contracts, summary
from shared.runtime.service import AnyService


@dataclass(frozen=True, slots=True)
class Field:
    """One of an event's own fields.

    Attributes:
        name: with `.*` for what a list or a mapping holds.
        kind: a type of JSON.
        limits: in words; empty where there are none but those that `says` tells.
        unit: of a number or an amount.
        says: what it holds.
    """

    name: str
    kind: str
    limits: str
    unit: str
    is_required: bool
    says: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A version of an event.

    Attributes:
        topic: the routing key.
        says: what happened.
        publishers: names of services.
        reactions: what each subscriber does, in sentences, by the service's name.
        schema: of the whole CloudEvent.
        examples: CloudEvents, by what is special about each.
    """

    type: str
    topic: str
    version: int
    says: str
    fields: tuple[Field, ...]
    publishers: tuple[str, ...]
    reactions: dict[str, tuple[str, ...]]
    schema: Schema
    examples: dict[str, dict[str, Any]]


def catalog(services: Sequence[AnyService]) -> list[Entry]:
    """Every version of every event: the published contracts, and what these services add."""
    declared = {each for service in services for each in service.publishes if each.topic}
    contracts = declared.union(published_contracts())
    return [_entry(each, services) for each in sorted(contracts, key=wire_type)]


def _entry(contract: Kind, services: Sequence[AnyService]) -> Entry:
    type_, schema = wire_type(contract), event_schema(contract)
    return Entry(
        type=type_,
        topic=contract.topic,
        version=contract.version,
        says=summary(contract),
        fields=tuple(_fields(schema["properties"]["data"])),
        publishers=tuple(each.name for each in services if issubclass(contract, each.publishes)),
        reactions={
            each.name: notes for each in services if (notes := tuple(_deeds(each, contract)))
        },
        schema=schema,
        examples=published.examples(type_),
    )


def _deeds(service: AnyService, contract: Kind) -> Iterator[str]:
    """What a service does with an event, in its handlers' own words."""
    read_as = service.contracts.get(wire_type(contract))
    for kind, handler in service.subscriptions:
        if read_as is not None and issubclass(read_as, kind):
            name = handler.__name__.replace("_", " ")
            yield (handler.__doc__ or f"{name.capitalize()}.").strip().partition("\n")[0]


def _fields(schema: Schema, above: str = "") -> Iterator[Field]:
    required = schema.get("required", ())
    for name, each in schema.get("properties", {}).items():
        yield _field(f"{above}{name}", each, is_required=name in required)
        yield from _fields(_contents(each), f"{above}{name}.*.")


def _field(name: str, schema: Schema, *, is_required: bool) -> Field:
    options = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
    known = schema | options[0]
    inner = _contents(known)
    kind = str(known.get("type", "any"))
    if inner:
        kind += f" of {inner.get('type', 'any')}"
    limits = "; ".join(filter(None, (_limits(known), _limits(inner) and f"each {_limits(inner)}")))
    unit = known.get(UNIT) or inner.get(UNIT, "")
    return Field(name, kind, limits, unit, is_required, str(known.get("description", "")))


def _contents(schema: Schema) -> Schema:
    """What a list or a mapping holds."""
    within = [schema.get("items"), *schema.get("patternProperties", {}).values()]
    within.append(schema.get("additionalProperties"))
    return next((each for each in within if isinstance(each, dict)), {})


def _limits(schema: Schema) -> str:
    said = [
        _range(schema.get("minimum"), schema.get("maximum"), ""),
        _range(schema.get("minLength"), schema.get("maxLength"), " characters"),
        _range(schema.get("minItems"), schema.get("maxItems"), " entries"),
        _range(schema.get("minProperties"), schema.get("maxProperties"), " entries"),
        ", ".join(str(each) for each in schema.get("enum", ())),
    ]
    return "; ".join(filter(None, said))


def _range(least: float | None, most: float | None, unit: str) -> str:
    if least is None and most is None:
        return ""
    if least is None:
        return f"at most {most:,}{unit}"
    return f"at least {least:,}{unit}" if most is None else f"{least:,} to {most:,}{unit}"
