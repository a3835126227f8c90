"""Placing an order: at the price list's total, and once for each id."""

import secrets
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from services.orders.order import CURRENCY, Order, OrderRefuses
from services.orders.store import OrdersStore
from shared.errors import InvalidInput
from shared.events import OrderPlaced
from shared.events.fields import EmailAddress, Items, OrderId, ShippingAddress
from shared.storage.unit_of_work import UnitOfWork

_READABLE = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Digits and letters that nobody takes for one another."""


def new_order_id() -> str:
    """An id that is not likely to be drawn again (5.9e14 of them) and easy to read out."""
    drawn = "".join(secrets.choice(_READABLE) for _ in range(10))
    return f"ORD-{drawn[:5]}-{drawn[5:]}"


class NewOrder(BaseModel):
    """What a customer asks for, within the limits of what can be published.

    Attributes:
        order_id: drawn if none is given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    order_id: OrderId = Field(default_factory=new_order_id)
    customer_email: Annotated[EmailAddress, Field(repr=False)]
    shipping_address: Annotated[ShippingAddress, Field(repr=False)]
    items: Items


def place_order(new: NewOrder, work: UnitOfWork[OrdersStore]) -> Order:
    """Place an order; the same again answers what has become of the first.

    Raises:
        InvalidInput: a product is not on the price list.
        OrderRefuses: that id has been given to another order.
    """
    unit_prices = work.store.unit_prices(new.items.keys())
    event = OrderPlaced(
        order_id=new.order_id,
        customer_email=new.customer_email,
        items=dict(sorted(new.items.items())),
        shipping_address=new.shipping_address,
        total_amount=_total(new, unit_prices),
        currency=CURRENCY,
    )
    order = Order(
        order_id=event.order_id,
        customer_email=event.customer_email,
        shipping_address=event.shipping_address,
        items=event.items,
        total_amount=event.total_amount,
        currency=event.currency,
        correlation_id=event.event_id,
        placed_at=event.occurred_at,
    )
    if not work.store.add(order, unit_prices):
        return _placed_before(new, work.store)
    work.publish(event)
    return order


def _total(new: NewOrder, unit_prices: dict[str, Decimal]) -> Decimal:
    missing = sorted(new.items.keys() - unit_prices.keys())
    if missing:
        raise InvalidInput(
            f"there is no product {missing[0]}: shop orders products lists those there are"
        )
    return sum((unit_prices[sku] * number for sku, number in new.items.items()), Decimal(0))


def _placed_before(new: NewOrder, store: OrdersStore) -> Order:
    order = store.locked(new.order_id)
    if order is None or not _is_the_same(new, order):
        raise OrderRefuses(
            f"{new.order_id} has been placed before, with other content: leave out --id to have "
            "one drawn, or choose another"
        )
    return order


def _is_the_same(new: NewOrder, order: Order) -> bool:
    return all(
        getattr(new, name) == getattr(order, name)
        for name in ("customer_email", "shipping_address", "items")
    )
