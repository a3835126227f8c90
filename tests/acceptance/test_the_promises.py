"""The promises of the project, kept by the real services on both brokers."""

from functools import partial
from typing import Any, ClassVar

import pytest

from services.inventory.store import InventoryStore
from services.loyalty.store import LoyaltyStore
from services.orders.store import OrdersStore
from shared.errors import EventIsImmutable, TransientFailure
from shared.events import (
    DomainEvent,
    OrderEvent,
    OrderPlaced,
    OrderShipped,
    UnknownEvent,
)
from shared.messaging.topology import Retry
from shared.runtime.service import Service
from shared.storage.unit_of_work import Store, UnitOfWork
from shared.testing import recording
from tests.acceptance.conftest import Opening
from tests.acceptance.shop import ADDRESS, CUSTOMER, RunningShop
from tests.support.waiting import eventually

Work = UnitOfWork[Store, Any]


def service(name: str, **declared: Any) -> Service[Store, Any]:
    """A service without tables."""
    return Service(name, store=Store, **declared)


def _has_handled(shop: RunningShop, name: str, event_type: str) -> bool:
    return event_type in shop.handled(name)


def status(store: OrdersStore, order_id: str) -> str:
    order = store.find(order_id)
    return order.status if order else "unknown"


def test_the_order_service_publishes_an_event(open_shop: Opening) -> None:
    with open_shop() as shop, recording() as published:
        shop.place("ORD-123", {"product-1": 2, "product-2": 1})

        event = published[0]
        assert isinstance(event, OrderPlaced)
        assert event.order_id == "ORD-123"
        assert event.customer_email == CUSTOMER
        assert event.shipping_address == ADDRESS
        assert str(event.total_amount) == "99.99"


def test_several_services_receive_the_same_event(open_shop: Opening) -> None:
    with open_shop() as shop:
        shop.place("ORD-123")

        for name in ("inventory", "email", "shipping", "analytics", "loyalty"):
            eventually(partial(_has_handled, shop, name, "order.placed.v1"))


def test_a_failing_service_does_not_stop_the_others(open_shop: Opening) -> None:
    def fail(event: OrderPlaced, work: Work) -> None:
        del event, work
        raise TransientFailure("always fails")

    failing = service("failing", retry=Retry(delay=0.05, max_delay=0.05, max_retries=1000))
    failing.on(OrderPlaced, fail)

    with open_shop(failing) as shop:
        shop.place("ORD-123")
        shop.pay("ORD-123", "49.99")

        eventually(lambda: shop.query("orders", lambda s: status(s, "ORD-123")) == "shipped")
        eventually(lambda: shop.failed("failing").count("TransientFailure") >= 2)
        assert shop.handled("failing") == []


def test_the_inventory_reserves_stock(open_shop: Opening) -> None:
    with open_shop() as shop:
        shop.place("ORD-123", {"product-1": 2, "product-2": 1})

        def stock() -> dict[str, tuple[int, int]]:
            rows = shop.query("inventory", InventoryStore.stock)
            return {row["sku"]: (row["available"], row["reserved"]) for row in rows}

        eventually(lambda: stock()["product-1"] == (9_998, 2))
        assert stock()["product-2"] == (4_999, 1)


def test_loyalty_awards_the_points_of_all_orders(open_shop: Opening) -> None:
    with open_shop() as shop:
        shop.place("ORD-123", {"product-1": 2, "product-2": 1})
        shop.place("ORD-124")

        eventually(
            lambda: shop.query("loyalty", lambda s: LoyaltyStore.balance(s, CUSTOMER)) == 148
        )


def test_an_event_cannot_be_changed(open_shop: Opening) -> None:
    with open_shop() as shop, recording() as published:
        shop.place("ORD-123")
        event = published[0]

        with pytest.raises(EventIsImmutable):
            event.total_amount = 0
        with pytest.raises(EventIsImmutable):
            del event.order_id
        with pytest.raises(TypeError):
            event.items["product-1"] = 99


class LampLit(DomainEvent):
    """An event that no service of the project knows."""

    topic: ClassVar[str] = "lamp.lit"
    publishers = frozenset({"publisher"})


def light_lamp(event: OrderShipped, work: Work) -> None:
    del event
    work.publish(LampLit())


def test_a_subscription_to_the_base_class_receives_every_event(open_shop: Opening) -> None:
    received: list[DomainEvent] = []
    observer = service("observer")
    observer.on(DomainEvent, lambda event, _: received.append(event))
    publisher = service("publisher", publishes=(LampLit,))
    publisher.on(OrderShipped, light_lamp)

    with open_shop(observer, publisher) as shop:
        shop.place("ORD-123")
        shop.pay("ORD-123", "49.99")
        shop.place("ORD-124", {"product-3": 8})

        eventually(lambda: len(received) == 8)

    assert sorted(event.type for event in received) == [
        "lamp.lit.v1",
        "order.cancelled.v1",
        "order.placed.v1",
        "order.placed.v1",
        "order.shipped.v1",
        "payment.received.v1",
        "stock.ran_short.v1",
        "stock.reserved.v1",
    ]
    assert not any(isinstance(event, UnknownEvent) for event in received)


def test_a_new_consumer_is_added_without_changing_another_service(open_shop: Opening) -> None:
    handled: list[str] = []
    gifts = service("gifts")
    gifts.on(OrderEvent, lambda event, _: handled.append(f"{event.order_id} {event.topic}"))
    with open_shop() as shop:
        shop.place("ORD-123")
        eventually(lambda: shop.handled("loyalty"))

    with open_shop(gifts) as shop:
        shop.place("ORD-124")

        eventually(lambda: "ORD-124 stock.reserved" in handled)
        assert "ORD-124 order.placed" in handled
