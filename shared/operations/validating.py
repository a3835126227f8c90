"""Checks of what a person typed."""

from typing import Any


def require_valid(text: str, kind: Any, expected: str) -> str:  # noqa: ANN401 - any annotation
    """The text as this type writes it; raises InvalidInput with `expected` if it is not valid."""
    from pydantic import TypeAdapter, ValidationError

    from shared.errors import InvalidInput

    try:
        adapter: TypeAdapter[str] = TypeAdapter(kind)
        return adapter.validate_python(text)
    except ValidationError:
        raise InvalidInput(expected) from None


def require_order_id(text: str) -> None:
    """Raise InvalidInput if the text cannot be an order id."""
    from shared.events.fields import OrderId

    require_valid(text, OrderId, "an order's id should be 1 to 64 letters, digits or dashes")
