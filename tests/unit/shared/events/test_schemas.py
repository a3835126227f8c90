import json
from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import ValidationError

from shared.events import ENVELOPE, OrderPlaced, concrete_types, published, wire_type
from shared.events.domain_event import Kind
from shared.events.schemas import event_schema, published_contracts
from shared.messaging.codec import decode, encode

CONTRACTS = published_contracts()
BY_TYPE = {wire_type(each): each for each in CONTRACTS}

EXAMPLES = [
    pytest.param(type_, example, id=f"{type_}-{name}")
    for type_ in published.types_with_examples()
    for name, example in published.examples(type_).items()
]


def validator(type_: str) -> Draft202012Validator:
    return Draft202012Validator(published.schemas()[type_], format_checker=FormatChecker())


def test_the_package_exports_every_contract() -> None:
    own = {each for each in concrete_types() if each.__module__.startswith("shared.events.")}

    assert set(CONTRACTS) == own
    assert len(BY_TYPE) == len(CONTRACTS)


@pytest.mark.parametrize("type_", sorted(BY_TYPE))
def test_the_published_schema_is_that_of_the_contract(type_: str) -> None:
    schema = published.schemas()[type_]

    Draft202012Validator.check_schema(schema)
    assert schema == event_schema(BY_TYPE[type_])
    assert "$ref" not in json.dumps(schema)


@pytest.mark.parametrize(("type_", "example"), EXAMPLES)
def test_an_example_is_valid_and_is_decoded_and_encoded_unchanged(
    type_: str, example: dict[str, Any]
) -> None:
    validator(type_).validate(example)

    event = decode(json.dumps(example).encode(), BY_TYPE)

    written = json.loads(encode(event, source=example["source"].removeprefix("/")))
    assert example["data"].items() <= written["data"].items()
    assert {**written, "data": None} == {**example, "data": None}


def test_every_version_has_an_example() -> None:
    assert set(published.types_with_examples()) >= BY_TYPE.keys()


PLACED = published.examples("order.placed.v1")["two-products"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("order_id", "x" * 65),
        ("order_id", "ORD 1"),
        ("customer_email", "jane"),
        ("items", {}),
        ("items", {"product-1": 0}),
        ("items", {"product-1": 10_001}),
        ("items", {"product-1": 1.5}),
        ("items", {"product 1": 1}),
        ("items", {f"p{number}": 1 for number in range(101)}),
        ("shipping_address", ""),
        ("shipping_address", "x" * 501),
        ("total_amount", 99.99),
        ("total_amount", "-1.00"),
        ("total_amount", "1.001"),
        ("total_amount", "1" * 13 + ".00"),
        ("currency", "euro"),
    ],
)
def test_data_that_the_contract_refuses_is_invalid_against_the_schema(
    field: str, value: object
) -> None:
    data = PLACED["data"] | {field: value}

    assert not validator("order.placed.v1").is_valid(PLACED | {"data": data})
    with pytest.raises(ValidationError):
        OrderPlaced.model_validate(data)


@pytest.mark.parametrize("contract", CONTRACTS, ids=wire_type)
def test_every_field_of_the_data_has_a_description(contract: Kind) -> None:
    data = event_schema(contract)["properties"]["data"]

    assert data["properties"].keys() == contract.model_fields.keys() - ENVELOPE
    assert all(each["description"] for each in data["properties"].values())


def test_money_is_a_string_with_a_unit() -> None:
    amount = event_schema(OrderPlaced)["properties"]["data"]["properties"]["total_amount"]

    assert amount["type"] == "string"
    assert amount["x-unit"] == "units of the currency"
    largest = OrderPlaced.model_validate(PLACED["data"] | {"total_amount": "9" * 12 + ".99"})
    assert largest.total_amount == Decimal("999999999999.99")
    validator("order.placed.v1").validate(json.loads(encode(largest, source="orders")))
