import copy
import enum
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, create_model

from shared.events import DomainEvent
from shared.events.compatibility import BREAKS_CONSUMERS, BREAKS_HISTORY, breaking_changes
from shared.events.fields import Items, Money, Quantity
from shared.events.schemas import event_schema
from shared.events.text import ALWAYS_ENFORCED


class Size(enum.StrEnum):
    """How large a lamp is."""

    SMALL = "small"
    LARGE = "large"


class Location(BaseModel):
    """The place of a lamp."""

    street: str
    floor: int | None = None


OPTIONAL_TOWN = create_model("P", __base__=Location, town=(str, "?"))


class Base(DomainEvent):
    """The base class of the contracts that the tests create."""


FIELDS: dict[str, Any] = {
    "name": (Annotated[str, Field(min_length=1, max_length=10, pattern="^[a-z]+$")], ...),
    "watts": (Annotated[int, Field(ge=1, le=100)], ...),
    "size": (Size, ...),
    "state": (Literal["lit", "out"], ...),
    "price": (Money, ...),
    "note": (str | None, None),
    "places": (list[Location], ...),
    "items": (Items, ...),
    "notes": (Mapping[str, int], ...),
}


def schema(**changed: Any) -> dict[str, Any]:
    """The schema of an event with FIELDS, of which some are changed; None removes one."""
    fields = {name: field for name, field in (FIELDS | changed).items() if field is not None}
    contract = create_model("LampChanged", __base__=Base, **fields)
    contract.topic = "lamp.changed"
    try:
        return event_schema(contract)
    finally:
        contract.topic = ""  # hides it from other tests


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"not": {"pattern": "=[?]"}}, set()),
        ({"not": {"pattern": "=[?]"}, "pattern": "^[a-z0-9]+$"}, {"pattern"}),
        ({"title_": "x"}, {"title_"}),
    ],
    ids=["a rule that was always enforced", "another pattern", "another keyword"],
)
def test_a_rule_may_be_stated_later_that_was_always_enforced(
    rule: dict[str, Any], expected: set[str]
) -> None:
    before = schema()
    after = copy.deepcopy(before)
    after["properties"]["data"]["properties"]["name"] |= rule | {ALWAYS_ENFORCED: True}
    unmarked = copy.deepcopy(before)
    unmarked["properties"]["data"]["properties"]["name"] |= rule

    found = {each.change.split()[2] for each in breaking_changes(before, after)}

    assert found == expected
    assert len([*breaking_changes(before, unmarked)]) == len(rule)


def test_an_unchanged_schema_breaks_nothing() -> None:
    assert [*breaking_changes(schema(), schema())] == []


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"colour": (str | None, None)}, id="a-new-optional-field"),
        pytest.param({"colour": (str, "white")}, id="a-new-field-with-a-default"),
        pytest.param({"note": (str | None, "none")}, id="another-default"),
        pytest.param(
            {"price": (Annotated[Money, Field(description="what it costs")], ...)},
            id="another-description",
        ),
        pytest.param(
            {"places": (list[OPTIONAL_TOWN], ...)},
            id="a-new-optional-nested-field",
        ),
    ],
)
def test_a_change_that_readers_can_ignore_is_safe(changed: dict[str, Any]) -> None:
    assert [*breaking_changes(schema(), schema(**changed))] == []


NEEDS_TOWN = create_model("P", __base__=Location, town=(str, ...))
NO_FLOOR = create_model("P", street=(str, ...))
SMALL = enum.StrEnum("SMALL", {"SMALL": "small"})
HUGE = enum.StrEnum("HUGE", {"SMALL": "small", "LARGE": "large", "HUGE": "huge"})
DOZENS = Annotated[int, Field(ge=1, le=10_000, json_schema_extra={"x-unit": "dozens"})]


def number(**limits: Any) -> Any:
    return Annotated[int, Field(**limits)]


def text(**limits: Any) -> Any:
    return Annotated[str, Field(**limits)]


@pytest.mark.parametrize(
    ("field", "kind", "change"),
    [
        ("watts", None, "is removed"),
        ("watts", (number(ge=1, le=100), 5), "is no longer required"),
        ("watts", str, "changes its type from integer to string"),
        ("watts", number(ge=1, le=900), "loosens its maximum from 100 to 900"),
        ("watts", number(ge=1), "loosens its maximum from 100 to none"),
        ("watts", number(ge=0, le=100), "loosens its minimum from 1 to 0"),
        ("name", text(min_length=1, max_length=10), "changes its pattern from ^[a-z]+$ to none"),
        ("state", Literal["lit", "out"] | None, "may now also be null"),
        ("size", HUGE, "allows more values: now also huge"),
        ("size", str, "allows more values"),
        ("price", float, "changes its type from string to number"),
        ("items", Mapping[str, DOZENS], "changes which names it may hold"),
        ("places", Location, "changes its type from array to object"),
        ("places.*.floor", list[NO_FLOOR], "is removed"),
        ("notes.*", Mapping[str, str], "changes its type from integer to string"),
    ],
)
def test_a_change_that_breaks_consumers_is_reported_with_its_field(
    field: str, kind: Any, change: str
) -> None:
    assert (f"data.{field}", change, BREAKS_CONSUMERS) in changes(field, kind)


@pytest.mark.parametrize(
    ("field", "kind", "change"),
    [
        ("colour", str, "is newly required"),
        ("note", str | None, "is newly required"),
        ("note", (str, "-"), "may no longer be null"),
        ("note", (text(max_length=9) | None, None), "tightens its maxLength from none to 9"),
        ("size", SMALL, "allows fewer values: no longer large"),
        ("state", Literal["lit"], "allows fewer values: no longer out"),
        ("watts", number(ge=1, le=60), "tightens its maximum from 100 to 60"),
        ("watts", number(ge=5, le=100), "tightens its minimum from 1 to 5"),
        ("places.*.town", list[NEEDS_TOWN], "is newly required"),
    ],
)
def test_a_change_that_breaks_history_is_reported_with_its_field(
    field: str, kind: Any, change: str
) -> None:
    assert (f"data.{field}", change, BREAKS_HISTORY) in changes(field, kind)


def changes(field: str, kind: Any) -> list[tuple[str, str, str]]:
    """The breaking changes when a field becomes of that kind; all are of that field."""
    name = field.partition(".")[0]
    now = kind if kind is None or isinstance(kind, tuple) else (kind, ...)
    breaking = [*breaking_changes(schema(), schema(**{name: now}))]
    assert {each.field.split(".")[1] for each in breaking} == {name}
    return [(each.field, each.change, each.harm) for each in breaking]


def test_another_unit_breaks_consumers() -> None:
    pieces, dozens = schema(lot=(Quantity, ...)), schema(lot=(DOZENS, ...))

    (breaking,) = breaking_changes(pieces, dozens)

    assert (
        f"{breaking.field} {breaking.change}" == "data.lot changes its unit from pieces to dozens"
    )
