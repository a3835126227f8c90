"""A contract's class and its published JSON Schema have the same verdict over the same data."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import ValidationError

from shared.events import PaymentReceived, published, wire_type
from shared.events.domain_event import Kind
from shared.events.schemas import published_contracts
from shared.messaging.codec import encode

SCHEMAS = published.schemas()

DESCRIBED = {"shipping_address", "reason", "customer_email"}
"""Fields with a rule that only their description states, see docs/contracts.md: there the class may
refuse what the schema allows."""

ODD_AMOUNTS = [
    *("-0", "-0.00", "0", "5", "99.9", "99.990", "+1.00", " 1.00", "1.00 ", "1.00\n", "1_000.00"),
    *("1e2", "1E+2", "1,00", ".50", "1.", "NaN", "Infinity", "-1.00", "0x10", "١٢.٠٠", "１.００"),
    *("9" * 12 + ".99", "9" * 13 + ".00", "00.10"),
]
ODD_TEXTS = ["", " ", "\n", "a\n", "\0", "é", "١", "x" * 64, "x" * 65, "x" * 501, "EUR", "EUR\n"]
ODD_NUMBERS = [0, -0.0, 1, 1.0, 10_000.0, 10_001.0, 1.5, -1, 10**20, 1e300]

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [*ODD_AMOUNTS, *ODD_TEXTS, *ODD_NUMBERS, None, True, [], {}, ["a"], [1]]
)
REMOVED = object()
ANY = st.recursive(
    ODD | st.text(max_size=10) | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below),
    max_leaves=5,
)
PIECES = st.sampled_from(ODD_NUMBERS) | st.integers(1, 10_000) | ANY
ITEMS = st.dictionaries(
    st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True) | st.text(max_size=3), PIECES, max_size=3
) | st.integers(99, 102).map(lambda size: {f"p{number}": 1 for number in range(size)})


def for_regex(schema: Any) -> Any:
    r"""The schema with `\Z` for `$`, which in Python also matches before a line break.

    JSON Schema's patterns are those of ECMA-262.
    """
    if isinstance(schema, list):
        return [for_regex(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    changed = {key: for_regex(value) for key, value in schema.items()}
    if isinstance(schema.get("pattern"), str):
        changed["pattern"] = _ecma(schema["pattern"])
    if "patternProperties" in schema:
        changed["patternProperties"] = {
            _ecma(name): each for name, each in changed["patternProperties"].items()
        }
    return changed


def _ecma(pattern: str) -> str:
    return pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern


CHECKED = {type_: for_regex(schema) for type_, schema in SCHEMAS.items()}
WHOLE = {
    type_: Draft202012Validator(schema, format_checker=FormatChecker())
    for type_, schema in CHECKED.items()
}
DATA = {
    type_: Draft202012Validator(schema["properties"]["data"]) for type_, schema in CHECKED.items()
}


def generated(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a field: some are valid, some nearly, some of another kind."""
    if schema["type"] == "object":
        return ITEMS | ANY
    if "pattern" in schema:
        odd = st.sampled_from(ODD_AMOUNTS) | st.sampled_from(ODD_TEXTS)
        return st.from_regex(schema["pattern"]) | odd | ANY
    return st.text(max_size=schema["maxLength"] + 1) | ODD | ANY


def mutated(contract: Kind) -> st.SearchStrategy[dict[str, Any]]:
    """Data of a published example, with one or two fields changed, added or removed."""
    type_ = wire_type(contract)
    examples = st.sampled_from([each["data"] for each in published.examples(type_).values()])
    fields = SCHEMAS[type_]["properties"]["data"]["properties"]
    values = {name: generated(schema) | st.just(REMOVED) for name, schema in fields.items()}
    values["gift_wrap"] = ANY
    names = st.sampled_from(sorted(values))
    changes = (names | st.tuples(names, names)).flatmap(
        lambda some: st.fixed_dictionaries(
            {name: values[name] for name in ([some] if isinstance(some, str) else some)}
        )
    )
    return st.builds(_changed, examples, changes)


def _changed(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    changed = {**data, **changes}
    return {name: value for name, value in changed.items() if value is not REMOVED}


def refused_field(contract: Kind, data: Mapping[str, Any]) -> str | None:
    """The field that the class refuses first; None if it accepts the data."""
    try:
        contract.model_validate(data)
    except ValidationError as error:
        return str(error.errors()[0]["loc"][0])
    return None


@pytest.mark.parametrize("contract", published_contracts(), ids=wire_type)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_class_and_schema_have_the_same_verdict_and_what_is_written_is_valid(
    contract: Kind, data: st.DataObject
) -> None:
    values = data.draw(mutated(contract))

    refused = refused_field(contract, values)

    allowed = DATA[wire_type(contract)].is_valid(values)
    assert allowed == (refused is None) or (allowed and refused in DESCRIBED), refused
    if refused is None:
        written = encode(contract.model_validate(values), source="orders")
        WHOLE[wire_type(contract)].validate(json.loads(written))


@pytest.mark.parametrize("amount", ODD_AMOUNTS)
def test_an_amount_has_one_form(amount: str) -> None:
    example = published.examples("payment.received.v1")
    data = next(iter(example.values()))["data"] | {"amount": amount}

    allowed = DATA["payment.received.v1"].is_valid(data)

    assert allowed == (refused_field(PaymentReceived, data) is None)
    assert allowed == (amount in {"9" * 12 + ".99", "00.10"})
