"""The field types of the contracts, each with its limits.

The command line validates its input with the same types, so accepted input can be published.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)

from shared.events.sentences import sentence


def in_utc(moment: datetime) -> datetime:
    """Convert a time to UTC.

    Raises:
        ValueError: the time is outside the years 1 to 9999 in UTC.
    """
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("should be within the years 1 to 9999 in UTC") from None


def _no_float(value: Any) -> Any:  # noqa: ANN401 - not validated yet
    if isinstance(value, float):
        # Pydantic reports the text of a ValueError, which must not contain the value.
        raise ValueError("money must be a decimal string, not a float")  # noqa: TRY004
    return value


def _cents(value: Decimal) -> Decimal:
    return abs(value.quantize(Decimal("0.01")))  # -0 passes `ge=0`


def _printable(value: str) -> str:
    if not value.isprintable() or not value.strip():
        raise ValueError("should be printable characters on one line, and not blank")
    return value


def _no_encoded_word(value: str) -> str:
    if "=?" in value:
        # Mail programs decode it to another address (RFC 2047, section 5).
        raise ValueError("should be one plain mail address, without =?")
    return value


def _text(pattern: str, description: str, max_length: int | None = None) -> Any:  # noqa: ANN401 - a FieldInfo
    """The description is also the error message for a string that does not match the pattern."""
    return Field(pattern=pattern, description=description, max_length=max_length)


def _line(max_length: int) -> Any:  # noqa: ANN401 - a FieldInfo
    return Field(
        max_length=max_length,
        description=f"1 to {max_length} printable characters on one line",
        json_schema_extra={"minLength": 1},
    )


def first_error(error: ValidationError, model: type[BaseModel]) -> str:
    """Describe the first validation error in one sentence, which names the field but no value."""
    first = error.errors(include_input=False, include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else model.__name__
    field = model.model_fields.get(name)
    if field is None:
        return f"{model.__name__}: {sentence(first)}"
    if first["type"] in {"string_pattern_mismatch", "string_too_long"} and field.description:
        return f"{name} should be {field.description}"
    return f"{name}: {sentence(first)}"


OrderId = Annotated[str, _text(r"^[A-Za-z0-9-]{1,64}$", "1 to 64 letters, digits and hyphens")]

Sku = Annotated[str, _text(r"^[A-Za-z0-9._-]{1,64}$", "1 to 64 letters, digits, . _ and -")]

UNIT = "x-unit"
"""The JSON Schema keyword for the unit of a number."""

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
    AfterValidator(MappingProxyType),
    PlainSerializer(dict),
]
"""Pieces by product, 1 to 100 entries; an immutable mapping."""

Money = Annotated[
    Decimal,
    BeforeValidator(_no_float),
    Field(
        ge=0, max_digits=14, decimal_places=2, description="in units of the currency, two decimals"
    ),
    AfterValidator(_cents),
    PlainSerializer(str, when_used="json"),
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
    AfterValidator(_no_encoded_word),
]

ShippingAddress = Annotated[str, _line(500), AfterValidator(_printable)]

Word = Annotated[
    str, _text(r"^[A-Za-z0-9 ._-]{1,64}$", "1 to 64 letters, digits, spaces, . _ and -")
]
"""A short name or code, such as a carrier or a payment method."""

Reason = Annotated[str, _line(200), AfterValidator(_printable)]
