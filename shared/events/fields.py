"""The field types of the contracts, each with its limits.

The command line validates its input with the same types, so accepted input can be published.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)

from shared.events.sentences import sentence
from shared.events.text import ALWAYS_ENFORCED, line_field, one_line

RECEIVED = "received"
"""The validation context for events that were published before: their money is normalised."""

_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]([01]\d|2[0-3]):[0-5]\d:(?P<seconds>[0-5]\d|60)(\.\d+)?"
    r"([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)

_CENT = Decimal("0.01")
_LARGEST_AMOUNT = Decimal("999999999999.99")
_AMOUNT = re.compile(r"[0-9]{1,12}\.[0-9]{2}")
_RECEIVED_AMOUNT = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,2})?")


def _timestamp(value: Any) -> datetime:  # noqa: ANN401 - not validated yet
    """An aware time in UTC; a text is as RFC 3339 says, with fractions cut off to microseconds."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return _in_utc(value)
    match = _RFC_3339.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        # Pydantic reports the text of a ValueError, which must not contain the value.
        raise ValueError("should be a time as in RFC 3339, such as 2026-11-27T12:00:00Z")
    if match["seconds"] == "60":
        return _leap_second(value, *match.span("seconds"))
    return _in_utc(_moment(value))


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.upper() if text.endswith("z") else text)
    except ValueError:
        raise ValueError("should be a day that exists, in the years 1 to 9999") from None


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("should be within the years 1 to 9999 in UTC") from None


def _leap_second(text: str, start: int, end: int) -> datetime:
    """The second after a leap second's minute; Python's times have no leap seconds."""
    moment = _in_utc(_moment(f"{text[:start]}59{text[end:]}"))
    if (moment.hour, moment.minute) != (23, 59):
        raise ValueError("should have the second 60 at a leap second only, before midnight in UTC")
    try:
        return moment + timedelta(seconds=1)
    except OverflowError:
        raise ValueError("should be within the years 1 to 9999 in UTC") from None


def _amount(value: Any, info: ValidationInfo) -> Decimal:  # noqa: ANN401 - not validated yet
    """An amount in hundredths: a `Decimal`, or a text as on the wire.

    Earlier releases also read other decimal numbers; so does the context `RECEIVED`.
    """
    is_received = info.context == RECEIVED
    if is_received and type(value) is int:
        value = str(value)
    if isinstance(value, str) and (_RECEIVED_AMOUNT if is_received else _AMOUNT).fullmatch(value):
        value = Decimal(value)
    if isinstance(value, Decimal) and value.is_finite() and 0 <= value <= _LARGEST_AMOUNT:
        hundredths = value.quantize(_CENT)
        if hundredths == value:
            return abs(hundredths)  # -0 is 0
    raise ValueError("should be an amount with two decimals as text, such as 99.99")


def _whole_numbers(value: Any) -> Any:  # noqa: ANN401 - not validated yet
    """JSON Schema, like JavaScript, does not distinguish 1.0 from 1."""
    if not isinstance(value, Mapping) or float not in map(type, value.values()):
        return value
    return {
        key: int(number) if isinstance(number, float) and number.is_integer() else number
        for key, number in value.items()
    }


def lower_domain(address: str) -> str:
    """The address with its domain in lower case: domains are the same in any (RFC 5321, 2.4)."""
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain.lower()}"


def _plain_address(value: str) -> str:
    if "=?" in value:
        # Mail programs decode it to another address (RFC 2047, section 5).
        raise ValueError("should be one plain mail address, without =?")
    return lower_domain(value)


def _text(pattern: str, description: str, max_length: int | None = None) -> Any:  # noqa: ANN401 - a FieldInfo
    """The description is also the error message for a string that does not match the pattern."""
    return Field(pattern=pattern, description=description, max_length=max_length)


_DESCRIBED = frozenset(
    {
        "string_type",
        "string_pattern_mismatch",
        "string_too_short",
        "string_too_long",
        "uuid_parsing",
        "uuid_type",
    }
)
"""Kinds of errors for which a field's description is the better sentence."""


def first_error(error: ValidationError, model: type[BaseModel]) -> str:
    """Describe the first validation error in one sentence, which names the field but no value."""
    first = error.errors(include_input=False, include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else model.__name__
    field = model.model_fields.get(name)
    if first["type"] == "missing":
        expected = f": it should be {field.description}" if field and field.description else ""
        return f"{name} is missing{expected}"
    if field is None:
        return f"{model.__name__}: {sentence(first)}"
    if first["type"] in _DESCRIBED and len(first["loc"]) == 1 and field.description:
        return f"{name} should be {field.description}"
    return f"{name}: {sentence(first)}"


OrderId = Annotated[str, _text(r"^[A-Za-z0-9-]{1,64}$", "1 to 64 letters, digits and hyphens")]
"""As events have it; the id of a new order is a `NewOrderId`."""

NewOrderId = Annotated[
    str,
    _text(
        r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}$",
        "1 to 64 letters, digits and hyphens, and begin with a letter or digit",
    ),
]
"""With a hyphen at its beginning an id looks like an option of a command."""

Sku = Annotated[str, _text(r"^[A-Za-z0-9._-]{1,64}$", "1 to 64 letters, digits, . _ and -")]

UNIT = "x-unit"
"""The JSON Schema keyword for the unit of a number."""

Timestamp = Annotated[
    datetime,
    BeforeValidator(_timestamp),
    Field(description="a time as in RFC 3339, such as 2026-11-27T12:00:00Z"),
]
"""A moment, in UTC."""

Quantity = Annotated[
    int,
    Field(ge=1, le=10_000, strict=True, description="pieces", json_schema_extra={UNIT: "pieces"}),
]

Items = Annotated[
    Mapping[Sku, Quantity],
    Field(
        min_length=1,
        max_length=100,
        description="pieces by product",
        json_schema_extra={"additionalProperties": False},
    ),
    BeforeValidator(_whole_numbers),
    AfterValidator(MappingProxyType),
    PlainSerializer(dict),
]
"""Pieces by product, 1 to 100 entries; an immutable mapping."""

Money = Annotated[
    Decimal,
    PlainValidator(_amount),
    PlainSerializer(str, when_used="json"),
    Field(description="in units of the currency, two decimals"),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^[0-9]{1,12}\.[0-9]{2}$",
            "description": "in units of the currency, two decimals",
            UNIT: "units of the currency",
        }
    ),
]
"""An amount in units of its currency, two decimals; on the wire a string."""

Currency = Annotated[str, _text(r"^[A-Z]{3}$", "a currency's three capital letters (ISO 4217)")]

EmailAddress = Annotated[
    str,
    # The pattern of HTML's <input type=email> with at least one dot in the domain: no display
    # name, no comment, no line break.
    # https://html.spec.whatwg.org/multipage/input.html#valid-e-mail-address
    _text(
        r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
        r"(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+$",
        "one plain mail address, such as jane@example.com",
        max_length=254,
    ),
    Field(json_schema_extra={"not": {"pattern": r"=\?"}, ALWAYS_ENFORCED: True}),
    AfterValidator(_plain_address),
]
"""In ASCII; what a person writes is a `shared.mail_addresses.TypedEmailAddress`."""

ShippingAddress = Annotated[str, line_field(500), AfterValidator(one_line)]

Word = Annotated[
    str, _text(r"^[A-Za-z0-9 ._-]{1,64}$", "1 to 64 letters, digits, spaces, . _ and -")
]
"""A short name or code, such as a carrier or a payment method."""

Reason = Annotated[str, line_field(200), AfterValidator(one_line)]
