"""The limits of every field type: values just inside and just outside."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from shared.events import OrderPlaced
from shared.events.fields import (
    RECEIVED,
    Currency,
    EmailAddress,
    Items,
    Money,
    OrderId,
    Quantity,
    Reason,
    ShippingAddress,
    Sku,
    Timestamp,
    Word,
    first_error,
)

TYPES: dict[str, Any] = {
    "order_id": OrderId,
    "sku": Sku,
    "quantity": Quantity,
    "items": Items,
    "money": Money,
    "timestamp": Timestamp,
    "currency": Currency,
    "email": EmailAddress,
    "address": ShippingAddress,
    "word": Word,
    "reason": Reason,
}

VALID: dict[str, list[object]] = {
    "order_id": ["A", "ORD-123", "x" * 64],
    "sku": ["product-1", "a.b_c", "x" * 64],
    "quantity": [1, 10_000],
    "items": [{"p": 1}, {"p": 2.0, "q": 1}, {f"p{number}": 1 for number in range(100)}],
    "money": ["0.00", "0.01", "99.90", "999999999999.99", Decimal("999999999999.99"), Decimal(5)],
    "currency": ["EUR"],
    "email": ["jane@example.com", "a.b+c@x-y.co.uk", "o'hara@example.com", "x" * 64 + "@a.bc"],
    "address": ["123 Main St, Springfield", "Straße 5, 東京", "x" * 500],
    "word": ["card", "DHL Express 2.0", "x" * 64],
    "reason": ["changed my mind", "x" * 200],
}

INVALID: dict[str, list[object]] = {
    "order_id": ["", "x" * 65, "ORD 1", "ORD_1", "ORD-1\n", "é", "١", 5, None],
    "sku": ["", "x" * 65, "a b", "a/b", "a\n"],
    "quantity": [0, -1, 10_001, 1.5, "1", True, None],
    "items": [
        {},
        {f"p{number}": 1 for number in range(101)},
        {"p": 0},
        {"": 1},
        [],
        "p",
        {"p": 1.5},
    ],
    "money": [
        *("-0.01", "0.001", "1e15", "NaN", "-Infinity", "", "ten", 0.1, 5, True, None),
        *("0", "-0", "-0.00", "99.9", "+1.00", " 1.00", "1.00\n", "1_000.00", "1e2", "1,00", ".50"),
        *("١٢.٠٠", "１２.００", "9" * 13 + ".00", Decimal("NaN"), Decimal("0.001"), Decimal(-1)),
        *(Decimal("1e12"), Decimal("Infinity")),
    ],
    "timestamp": [
        *("", "yesterday", "2026-11-20", "2026-11-20T12:00:00", "2026-11-20T12:00Z", 0, 1.5, "0"),
        *("1700000000", "20261120T120000Z", "2026-W47-5T12:00:00Z", "2026-11-20T12:00:00,5Z"),
        *("2026-11-20 12:00:00Z", "2026-02-30T00:00:00Z", "2026-11-20T24:00:00Z", True, None),
        *("2026-11-20T12:00:00+24:00", "2026-11-20T12:00:00+0100", "0000-01-01T00:00:00Z"),
        *("2026-11-20T12:00:60Z", "2026-11-20T12:00:61Z", "9999-12-31T23:59:60Z", b"2026", []),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "２026-11-20T12:00:00Z"),
        *("2026-11-20T12:00:00Z\n", datetime(2026, 11, 20)),  # noqa: DTZ001 - a naive one
    ],
    "currency": ["", "eur", "EURO", "EU", "EUR\n", "ÉUR"],
    "email": [
        "",
        "jane",
        "jane@",
        "@example.com",
        "jane@localhost",
        "jane@example..com",
        "jane@-example.com",
        "jane@example.com\n",
        "jane@example.com\r\nBcc: all@example.com",
        "Jane <jane@example.com>",
        "jane@example.com, joe@example.com",
        "jane doe@example.com",
        "jäne@example.com",
        "x" * 65 + "@a.bc",
        "jane@" + ".".join(["x" * 60] * 5),
    ],
    "address": ["", "   ", "a\nb", "a\tb", "a\0b", "a\u2028b", "a\u202eb", "x" * 501, None],
    "word": ["", "x" * 65, "a\n", "a/b", "<b>"],
    "reason": ["", " ", "a\nb", "x" * 201],
}


PLACED: dict[str, object] = {
    "order_id": "ORD-1",
    "customer_email": "customer@example.com",
    "items": {"p": 1},
    "shipping_address": "123 Main St",
    "total_amount": "1.00",
    "currency": "EUR",
}


def _cases(values: dict[str, list[object]]) -> list[Any]:
    return [
        pytest.param(kind, value, id=f"{kind}-{number}")
        for kind, each in values.items()
        for number, value in enumerate(each)
    ]


@pytest.mark.parametrize(("kind", "value"), _cases(VALID))
def test_a_value_within_the_limits_is_valid(kind: str, value: object) -> None:
    validated = TypeAdapter(TYPES[kind]).validate_python(value)

    assert validated == (Decimal(str(value)) if kind == "money" else value)


@pytest.mark.parametrize(("kind", "value"), _cases(INVALID))
def test_a_value_outside_the_limits_is_invalid(kind: str, value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(TYPES[kind]).validate_python(value)


def test_minus_zero_is_zero() -> None:
    money: TypeAdapter[Decimal] = TypeAdapter(Money)

    assert money.dump_json(money.validate_python(Decimal("-0"))).decode() == '"0.00"'


@pytest.mark.parametrize(
    ("received", "amount"),
    [("-0.00", "0.00"), ("-0", "0.00"), ("5", "5.00"), ("99.9", "99.90"), (5, "5.00")],
)
def test_an_amount_of_an_earlier_release_is_read_and_written_in_the_one_form(
    received: object, amount: str
) -> None:
    money: TypeAdapter[Decimal] = TypeAdapter(Money)

    read = money.validate_python(received, context=RECEIVED)

    assert money.dump_json(read).decode() == f'"{amount}"'


@pytest.mark.parametrize(
    "received", ["-0.01", "1e2", "1_000.00", "١٢.٠٠", " 1.00", "+1", "NaN", 1.5, True, -1, 10**12]
)
def test_what_no_release_wrote_is_not_read_as_an_amount(received: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Money).validate_python(received, context=RECEIVED)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-20T12:00:00Z", datetime(2026, 11, 20, 12, tzinfo=UTC)),
        ("2026-11-20t12:00:00.5z", datetime(2026, 11, 20, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-11-20T12:00:00.123456789Z", datetime(2026, 11, 20, 12, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-11-20T12:00:00+05:45", datetime(2026, 11, 20, 6, 15, tzinfo=UTC)),
        ("2026-11-20T12:00:00-00:00", datetime(2026, 11, 20, 12, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("1990-12-31T15:59:60.25-08:00", datetime(1991, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_every_time_of_rfc_3339_is_read(text: str, moment: datetime) -> None:
    assert TypeAdapter(Timestamp).validate_python(text) == moment


@given(st.decimals(0, Decimal("999999999999.99"), places=2))
def test_money_is_a_string_with_two_decimals_on_the_wire(amount: Decimal) -> None:
    money: TypeAdapter[Decimal] = TypeAdapter(Money)

    wire = money.dump_json(money.validate_python(amount)).decode()

    assert wire == f'"{amount:.2f}"'
    assert money.validate_json(wire) == amount


@pytest.mark.parametrize(
    ("field", "value", "beginning"),
    [
        ("order_id", "canary 1", "order_id should be 1 to 64 letters, digits and hyphens"),
        ("customer_email", "canary", "customer_email should be one plain mail address"),
        ("shipping_address", "canary\n", "shipping_address: should be printable characters"),
        ("shipping_address", "canary" * 100, "shipping_address should be 1 to 500 printable"),
        ("total_amount", 1.5, "total_amount: should be an amount with two decimals"),
        ("total_amount", "canary", "total_amount: should be an amount with two decimals"),
        ("occurred_at", "canary", "occurred_at: should be a time as in RFC 3339"),
        ("currency", "canary", "currency should be a currency's three capital letters"),
        ("items", {"canary!": 1}, "items"),
        ("items", {"canary": 0}, "items"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_the_first_error_names_the_field_but_not_the_value(
    field: str, value: object, beginning: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        OrderPlaced.model_validate(PLACED | {field: value})

    sentence = first_error(refused.value, OrderPlaced)
    assert sentence.startswith(beginning)
    assert "canary" not in sentence


@pytest.mark.parametrize("field", ["order_id", "customer_email", "total_amount", "currency"])
def test_the_validation_error_does_not_show_the_value(field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        OrderPlaced.model_validate(PLACED | {field: "canary @"})

    assert "canary" not in str(refused.value)
