"""Parses and validates the options of `shop orders …`."""

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from shared.errors import InvalidInput
from shared.events.fields import first_error

M = TypeVar("M", bound=BaseModel)


_OPTION_OF_FIELD = {
    "order_id": "the order's id",
    "customer_email": "--email",
    "shipping_address": "--address",
    "items": "--item",
    "amount": "--amount",
    "payment_method": "--method",
    "reason": "--reason",
}
_ITEM = re.compile(r"([A-Za-z0-9._-]{1,64})=([0-9]{1,5})")
_FIELD_NAME = re.compile(r"[a-z_]*")


def parse_options(model: type[M], **values: Any) -> M:  # noqa: ANN401 - not validated yet
    """Build a model from the options that are not None; raises InvalidInput for an invalid one."""
    try:
        return model(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        sentence = first_error(error, model)
    # Raised outside the `except` block: the ValidationError holds the user's input.
    raise InvalidInput(
        _FIELD_NAME.sub(lambda match: _OPTION_OF_FIELD.get(match[0], match[0]), sentence, count=1)
    )


def parse_items(items: Sequence[str]) -> dict[str, int]:
    """Parse the values of `--item SKU=N`; raises InvalidInput for a wrong, repeated or no value."""
    quantities: dict[str, int] = {}
    for position, item in enumerate(items, start=1):
        match = _ITEM.fullmatch(item)
        if not match or not 1 <= int(match[2]) <= 10_000:
            raise InvalidInput(
                "--item should be SKU=N with N from 1 to 10000, such as product-1=2"
                + (f"; number {position} is not" if len(items) > 1 else "")
            )
        if match[1] in quantities:
            raise InvalidInput(f"--item names {match[1]} twice: give its whole quantity once")
        quantities[match[1]] = int(match[2])
    if not 1 <= len(quantities) <= 100:
        raise InvalidInput("an order has 1 to 100 products: give each as --item SKU=N")
    return quantities
