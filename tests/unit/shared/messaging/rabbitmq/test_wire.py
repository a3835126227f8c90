"""What of a message's properties is used, whatever they are."""

import pytest
from pika import spec
from pika.compat import long

from shared.messaging.codec import encode
from shared.messaging.identity import UNREADABLE, Identity
from shared.messaging.ports.consumer import Delivery
from shared.messaging.rabbitmq.field_tables import PartlyDecoded
from shared.messaging.rabbitmq.wire import delivery
from tests.support.order_events import placed

BODY = encode(placed(), source="orders")


def delivered(*, is_redelivered: bool = False, **properties: object) -> Delivery:
    given = spec.BasicProperties(**properties)  # type: ignore[no-untyped-call]
    method = spec.Basic.Deliver(exchange="events", redelivered=is_redelivered)  # type: ignore[no-untyped-call]
    return delivery("email", method, given, BODY, token=1)


def test_undecodable_properties_are_a_flaw_and_none_of_them_is_used() -> None:
    headers = PartlyDecoded({"shop-replays": 2, "x-delivery-count": 3, "x-acquired-count": 3})

    found = delivered(headers=headers, message_id="id-1", type="order.placed.v1")

    assert found.flaw == "its properties cannot be decoded"
    assert (found.event_id, found.type) == ("", "")


def test_a_message_with_a_flaw_is_named_by_its_digest_although_its_body_is_an_event() -> None:
    identity = Identity.of(delivered(headers=PartlyDecoded(), message_id="id-1"))

    assert identity.id.startswith("sha256:")
    assert identity.event_type == UNREADABLE
    assert identity.envelope is None
    assert str(identity.flaw) == "its properties cannot be decoded"


def test_attempts_are_counted_although_the_properties_are_undecodable() -> None:
    headers = PartlyDecoded({"x-delivery-count": 3, "x-acquired-count": 3})

    assert delivered(headers=headers, is_redelivered=True).attempt == 4


@pytest.mark.parametrize(
    "headers", [None, {}, {"a": None}, {b"\xff": 1, "x-death": [{"count": 1}]}]
)
def test_decodable_properties_are_no_flaw(headers: dict[str | bytes, object] | None) -> None:
    assert delivered(headers=headers).flaw == ""


@pytest.mark.parametrize(
    ("count", "attempt"),
    [
        pytest.param(3, 4, id="int"),
        pytest.param(long(3), 4, id="pikas-long"),
        pytest.param(True, 1, id="bool"),
        pytest.param(-1, 1, id="negative"),
        pytest.param(2**40, 1, id="too-large"),
        pytest.param("3", 1, id="text"),
        pytest.param(None, 1, id="missing"),
    ],
)
def test_the_attempt_follows_from_the_brokers_counts(count: object, attempt: int) -> None:
    headers = {"x-delivery-count": count, "x-acquired-count": long(9)}
    properties = spec.BasicProperties(headers=headers)  # type: ignore[no-untyped-call]

    method = spec.Basic.Deliver(redelivered=True)  # type: ignore[no-untyped-call]
    arrived = delivery("email", method, properties, b"{}", token=1)

    assert arrived.attempt == attempt
