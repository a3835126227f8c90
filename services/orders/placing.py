"""Placing an order: at the total of the price list, and once for each order id."""

import secrets
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from services.orders.order import CURRENCY, Order, OrderConflict
from services.orders.store import OrdersStore
from shared.errors import InvalidInput
from shared.events import OrderPlaced
from shared.events.fields import Items, NewOrderId, ShippingAddress
from shared.events.text import is_same_text
from shared.mail_addresses import TypedEmailAddress, is_same_address
from shared.runtime.hints import command
from shared.storage.unit_of_work import UnitOfWork

_ID_CHARACTERS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Digits and letters without those that look alike, such as 0 and O."""


def new_order_id() -> str:
    """A random order id, one of 5.9e14, that is easy to read aloud."""
    characters = "".join(secrets.choice(_ID_CHARACTERS) for _ in range(10))
    return f"ORD-{characters[:5]}-{characters[5:]}"


class NewOrder(BaseModel):
    """A customer's request to place an order, with the same limits as OrderPlaced."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    order_id: NewOrderId = Field(default_factory=new_order_id)
    customer_email: Annotated[TypedEmailAddress, Field(repr=False)]
    shipping_address: Annotated[ShippingAddress, Field(repr=False)]
    items: Items


def place_order(request: NewOrder, work: UnitOfWork[OrdersStore]) -> Order:
    """Store a new order and publish OrderPlaced.

    Placing the same order again returns the existing order and publishes nothing.

    Raises:
        InvalidInput: a product is not on the price list.
        OrderConflict: an order with this id and other content exists.
    """
    unit_prices = work.store.unit_prices(request.items.keys())
    event = OrderPlaced(
        order_id=request.order_id,
        customer_email=request.customer_email,
        items=dict(sorted(request.items.items())),
        shipping_address=request.shipping_address,
        total_amount=_total(request, unit_prices),
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
        return _existing_order(request, work.store)
    work.publish(event)
    return order


def _total(request: NewOrder, unit_prices: dict[str, Decimal]) -> Decimal:
    unknown = sorted(request.items.keys() - unit_prices.keys())
    if unknown:
        raise InvalidInput(
            f"there is no product {unknown[0]}: {command('orders', 'products')} lists the products"
        )
    amounts = (unit_prices[sku] * quantity for sku, quantity in request.items.items())
    return sum(amounts, Decimal(0))


def _existing_order(request: NewOrder, store: OrdersStore) -> Order:
    order = store.locked(request.order_id)
    if order is None or not _is_same_order(request, order):
        raise OrderConflict(
            f"{request.order_id} already exists with other content: choose another --id, or leave "
            "it out to get a random one"
        )
    return order


def _is_same_order(request: NewOrder, order: Order) -> bool:
    """Whether an order is that of the request; an older one may be stored as it was typed."""
    return (
        is_same_address(request.customer_email, order.customer_email)
        and is_same_text(request.shipping_address, order.shipping_address)
        and request.items == order.items
    )
