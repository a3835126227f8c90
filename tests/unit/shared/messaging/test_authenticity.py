"""Which messages count, by routing key, source and broker user."""

from typing import Any

import pytest

from shared.errors import ForgedEvent, error_named
from shared.events import DomainEvent, OrderPlaced, PaymentReceived, UnknownEvent, concrete_types
from shared.messaging.authenticity import (
    BrokerUsers,
    require_authentic,
    require_authentic_record,
)
from shared.messaging.codec import encode, read
from shared.messaging.ports.history import HistoryRecord
from shared.testing import example
from shop import registry
from tests.support.deliveries import delivery_of

EMAIL = BrokerUsers(replaying=frozenset({"email", "operator"}))
LENIENT = BrokerUsers(replaying=frozenset({"email", "operator"}), is_required=False)
PLACED = example(OrderPlaced)
PAID = example(PaymentReceived)
UNKNOWN = UnknownEvent(unknown_type="parcel.lost.v1")
REPLAY: dict[str, Any] = {"is_replay": True, "topic": "email"}


def accept(event: DomainEvent, source: str, users: BrokerUsers | None, **differing: Any) -> None:
    delivery = delivery_of(event, queue="email", source=source, **differing)
    contract = None if isinstance(event, UnknownEvent) else type(event)
    require_authentic(delivery, read(delivery.body), contract, users=users)


def accept_record(event: DomainEvent, source: str, **differing: Any) -> None:
    fields: dict[str, Any] = {"topic": "order.placed"} | differing
    body = encode(event, source=source)
    record = HistoryRecord(offset=0, event_id="", type=event.type, body=body, **fields)
    contract = None if isinstance(event, UnknownEvent) else type(event)
    require_authentic_record(record, read(record.body), contract)


@pytest.mark.parametrize(
    ("event", "source", "users", "differing"),
    [
        pytest.param(PLACED, "orders", None, {}, id="users-shared"),
        pytest.param(PLACED, "orders", None, {"user": "shop"}, id="user-shared"),
        pytest.param(PLACED, "orders", EMAIL, {"user": "orders"}, id="own-user"),
        pytest.param(PLACED, "orders", LENIENT, {}, id="no-user-yet"),
        pytest.param(PLACED, "orders", EMAIL, REPLAY | {"user": "email"}, id="replay-of-own"),
        pytest.param(PLACED, "orders", EMAIL, REPLAY | {"user": "operator"}, id="of-operator"),
        pytest.param(PLACED, "orders", None, REPLAY, id="replay-users-shared"),
        pytest.param(
            UNKNOWN, "parcels", EMAIL, {"user": "parcels"}, id="unknown-type-of-its-source"
        ),
    ],
)
def test_what_a_publisher_of_its_type_published_is_accepted(
    event: DomainEvent, source: str, users: BrokerUsers | None, differing: dict[str, Any]
) -> None:
    accept(event, source, users, **differing)


@pytest.mark.parametrize(
    ("event", "source", "users", "differing", "reason"),
    [
        pytest.param(
            PAID,
            "orders",
            None,
            {"topic": "stock.reserved"},
            "its routing key is not the topic of its type",
            id="foreign-key",
        ),
        pytest.param(
            PLACED, "email", None, {}, "its source does not publish this type", id="foreign-source"
        ),
        pytest.param(
            PLACED, "Jane Doe", None, {}, "its source is not the name of a service", id="no-source"
        ),
        pytest.param(
            PLACED, "orders", EMAIL, {"user": "shipping"}, "should be orders", id="foreign-user"
        ),
        pytest.param(PLACED, "orders", EMAIL, {}, "should be orders", id="no-user"),
        pytest.param(
            PLACED, "orders", LENIENT, {"user": "shipping"}, "should be orders", id="not-lenient"
        ),
        pytest.param(
            UNKNOWN, "parcels", EMAIL, {"user": "shipping"}, "should be parcels", id="unknown-type"
        ),
        pytest.param(
            PLACED,
            "orders",
            EMAIL,
            REPLAY | {"user": "shipping"},
            "should be email or operator",
            id="replay-by-another",
        ),
        pytest.param(PLACED, "orders", EMAIL, REPLAY, "email or operator", id="replay-by-nobody"),
        pytest.param(
            PLACED,
            "shipping",
            EMAIL,
            REPLAY | {"user": "email"},
            "its source does not publish this type",
            id="replay-of-a-forgery",
        ),
        pytest.param(
            PLACED,
            "orders",
            None,
            {"is_replay": True, "topic": "loyalty"},
            "it is a replay to another queue",
            id="replay-to-another",
        ),
    ],
)
def test_anything_else_is_forged_and_the_sentence_says_why(
    event: DomainEvent,
    source: str,
    users: BrokerUsers | None,
    differing: dict[str, Any],
    reason: str,
) -> None:
    with pytest.raises(ForgedEvent, match=reason):
        accept(event, source, users, **differing)


@pytest.mark.parametrize(
    ("source", "differing"),
    [
        pytest.param("orders", {}, id="from-before-users"),
        pytest.param("orders", {"user": "shop"}, id="from-before-own-users"),
        pytest.param("orders", {"user": "orders"}, id="own-user"),
    ],
)
def test_a_record_of_a_publisher_of_its_type_is_accepted(
    source: str, differing: dict[str, Any]
) -> None:
    accept_record(PLACED, source, **differing)


@pytest.mark.parametrize(
    ("source", "differing"),
    [
        pytest.param("orders", {"topic": "order.shipped"}, id="foreign-key"),
        pytest.param("shipping", {}, id="foreign-source"),
        pytest.param("orders", {"user": "shipping"}, id="foreign-user"),
        pytest.param("orders", {"is_replay": True}, id="replay"),
    ],
)
def test_any_other_record_is_forged(source: str, differing: dict[str, Any]) -> None:
    with pytest.raises(ForgedEvent):
        accept_record(PLACED, source, **differing)


def test_the_sentence_names_type_source_key_and_user() -> None:
    with pytest.raises(ForgedEvent) as caught:
        accept(PAID, "orders", EMAIL, topic="stock.reserved", user="inventory")

    assert str(caught.value) == (
        "payment.received.v1 with source /orders, routing key stock.reserved and broker user "
        "inventory: its routing key is not the topic of its type"
    )


def test_the_sentence_quotes_no_free_text() -> None:
    with pytest.raises(ForgedEvent) as caught:
        accept(PLACED, "jane@example.com", None, topic="jane@example.com", user="Jane Doe")

    assert "jane" not in str(caught.value).lower()
    assert str(caught.value).count("sha256:") == 3


def test_a_forged_message_and_a_conflicting_one_do_not_own_their_ids() -> None:
    for name in ("ForgedEvent", "ConflictingEvent"):
        error = error_named(name)
        assert error is not None
        assert (error.owns_event_id, error.may_succeed_on_redrive) == (False, False)


def test_each_contract_names_the_services_that_declare_to_publish_it() -> None:
    declared: dict[type[DomainEvent], set[str]] = {}
    for service in registry.all_services():
        for contract in service.publishes:
            declared.setdefault(contract, set()).add(service.name)

    contracts = {each for each in concrete_types() if each.__module__.startswith("shared.events")}
    assert {each: set(each.publishers) for each in contracts} == declared
