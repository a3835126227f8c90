"""Checks of what a person typed."""

from typing import Any


def require_valid(text: str, kind: Any, expected: str) -> None:  # noqa: ANN401 - any annotation
    """Raise InvalidInput with a sentence, `expected`, if the text is not valid as this type."""
    from pydantic import TypeAdapter, ValidationError

    from shared.errors import InvalidInput

    try:
        TypeAdapter(kind).validate_python(text)
    except ValidationError:
        raise InvalidInput(expected) from None


def require_order_id(text: str) -> None:
    """Raise InvalidInput if the text cannot be an order id."""
    from shared.events.fields import OrderId

    require_valid(text, OrderId, "an order's id should be 1 to 64 letters, digits or dashes")
