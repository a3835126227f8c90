"""What of a message's properties is used, whatever they are."""

import json

import pytest
from pika import spec
from pika.compat import long

from shared.events import OrderPlaced
from shared.messaging.codec import decode, encode
from shared.messaging.identity import UNREADABLE, Identity
from shared.messaging.ports.consumer import Delivery
from shared.messaging.rabbitmq.field_tables import PartlyDecoded
from shared.messaging.rabbitmq.wire import delivery
from tests.support.order_events import placed

BODY = encode(placed(), source="orders")


def delivered(
    *, is_redelivered: bool = False, body: bytes = BODY, **properties: object
) -> Delivery:
    given = spec.BasicProperties(**properties)  # type: ignore[no-untyped-call]
    method = spec.Basic.Deliver(exchange="events", redelivered=is_redelivered)  # type: ignore[no-untyped-call]
    return delivery("email", method, given, body, token=1)


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


def test_an_event_in_binary_mode_is_delivered_in_structured_mode() -> None:
    event = placed()
    attributes = json.loads(encode(event, source="orders"))
    data = json.dumps(attributes.pop("data")).encode()
    del attributes["datacontenttype"]
    headers = {f"cloudEvents_{name}": value for name, value in attributes.items()}

    arrived = delivered(headers=headers, content_type="application/json", body=data)

    assert decode(arrived.body, {"order.placed.v1": OrderPlaced}) == event


def test_the_body_of_our_own_messages_is_delivered_as_it_is() -> None:
    headers = {"cloudEvents_specversion": "1.0"}

    assert delivered(headers=headers, content_type="application/cloudevents+json").body is BODY
    assert delivered(headers=PartlyDecoded(headers), content_type="text/plain").body is BODY
    assert delivered().body is BODY
