"""What a person typed, understood or refused in one sentence."""

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from services.orders.order import STATUSES
from shared.errors import InvalidInput
from shared.events.fields import OrderId, first_error

M = TypeVar("M", bound=BaseModel)


class OneOrder(BaseModel):
    """The order that a person speaks of."""

    model_config = ConfigDict(hide_input_in_errors=True)

    order_id: OrderId


_TYPED_AS = {
    "order_id": "the order's id",
    "customer_email": "--email",
    "shipping_address": "--address",
    "items": "--item",
    "amount": "--amount",
    "payment_method": "--method",
    "reason": "--reason",
}
_LINE = re.compile(r"([A-Za-z0-9._-]{1,64})=([0-9]{1,5})")


def understood(model: type[M], **typed: Any) -> M:  # noqa: ANN401 - whatever came, before it is validated
    """The values that were typed, as that model; what is None was not typed.

    Raises:
        InvalidInput: the sentence names the option that is wrong.
    """
    try:
        return model(**{name: value for name, value in typed.items() if value is not None})
    except ValidationError as error:
        sentence = first_error(error, model)
    name = sentence[: len(sentence) - len(sentence.lstrip("abcdefghijklmnopqrstuvwxyz_"))]
    raise InvalidInput(_TYPED_AS.get(name, name) + sentence.removeprefix(name))


def items_of(lines: Sequence[str]) -> dict[str, int]:
    """What was typed as `--item SKU=N`, once for each product.

    Raises:
        InvalidInput: one is no such thing, or there is none, or a product is named twice.
    """
    items: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        found = _LINE.fullmatch(line)
        if not found or not 1 <= int(found[2]) <= 10_000:
            raise InvalidInput(
                "--item should be SKU=N with N from 1 to 10000, such as product-1=2"
                + (f"; number {number} is not" if len(lines) > 1 else "")
            )
        if found[1] in items:
            raise InvalidInput(f"--item names {found[1]} twice: give its whole quantity once")
        items[found[1]] = int(found[2])
    if not 1 <= len(items) <= 100:
        raise InvalidInput("an order has 1 to 100 products: say each as --item SKU=N")
    return items


def known_status(status: str | None) -> str | None:
    """The status that was typed, if one was.

    Raises:
        InvalidInput: there is no such status.
    """
    if status is not None and status not in STATUSES:
        raise InvalidInput(f"--status should be one of {', '.join(STATUSES)}")
    return status
