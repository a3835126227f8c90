"""What of a message from outside may be recorded, logged and shown."""

import json
from dataclasses import replace
from typing import Any

import pytest

from shared.messaging.codec import encode
from shared.messaging.identity import Identity, safe_id, safe_name, safe_source, safe_type
from tests.support.counting import ThingHappened
from tests.support.deliveries import delivery_of

EVENT = ThingHappened(name="a")


@pytest.mark.parametrize("text", ["ORD-123", "a" * 64, "019ab000-0000-7000-8000-000000000001"])
def test_an_id_by_our_own_pattern_is_unchanged(text: str) -> None:
    assert safe_id(text) == text


@pytest.mark.parametrize(
    "text", ["jane@example.com", "Jane Doe", "+49 151 2345678", "a" * 65, "", "a\n", "Jörg", "a.b"]
)
def test_any_other_id_becomes_its_digest(text: str) -> None:
    assert safe_id(text).startswith("sha256:")
    assert len(safe_id(text)) == len("sha256:") + 12
    assert safe_id(text) == safe_id(text)
    assert safe_id(text) != safe_id(text + "x")


def test_names_and_sources_have_patterns_of_their_own() -> None:
    assert safe_name("order.placed.v1") == "order.placed.v1"
    assert safe_name("jane@example.com").startswith("sha256:")
    assert safe_source("/orders") == "/orders"
    assert safe_source("/Jane Doe").startswith("sha256:")
    assert safe_source("https://example.com/?jane").startswith("sha256:")


@pytest.mark.parametrize(
    "type_", ["order.placed.v1", "invoice/sent", "com.github.Pull_Request.v2", "urn:x:y", "a" * 200]
)
def test_a_type_that_can_hold_nothing_personal_is_unchanged(type_: str) -> None:
    assert safe_type(type_) == type_
    assert with_type(type_).event_type == type_


@pytest.mark.parametrize("type_", ["jane@example.com", "Jane Doe", "請求書.v1"])
def test_any_other_type_becomes_its_digest(type_: str) -> None:
    assert safe_type(type_).startswith("sha256:")
    assert with_type(type_).event_type == safe_type(type_)


def with_type(type_: str) -> Identity:
    body = json.dumps(json.loads(encode(EVENT, source="elsewhere")) | {"type": type_}).encode()
    return Identity.of(delivery_of(EVENT, queue="counting", body=body))


def with_subject(subject: str, **differing: Any) -> Identity:
    envelope = json.loads(encode(EVENT, source="elsewhere"))
    body = json.dumps(envelope | {"subject": subject}).encode()
    return Identity.of(delivery_of(EVENT, queue="counting", body=body, **differing))


def test_a_subject_that_is_no_id_of_ours_becomes_its_digest() -> None:
    assert with_subject("ORD-1").subject == "ORD-1"
    assert with_subject("jane@example.com").subject == "sha256:8c87b489ce35"


def test_the_id_of_an_unreadable_message_is_its_body_unless_its_property_is_an_id() -> None:
    delivery = delivery_of(EVENT, queue="counting", body=b"{")

    assert Identity.of(replace(delivery, event_id="note-1")).id == "note-1"
    assert Identity.of(replace(delivery, event_id="note_1.jane")).id == "sha256:021fb596db81"


def test_a_forged_message_is_named_by_its_user_and_content_not_by_the_id_that_it_holds() -> None:
    genuine = delivery_of(EVENT, queue="counting", user="elsewhere")
    forged = replace(genuine, user="counting")

    failed = Identity.of_failed(forged, "ForgedEvent")

    assert Identity.of_failed(genuine, "TransientFailure").id == str(EVENT.event_id)
    assert failed.id.startswith("sha256:")
    assert failed.id != Identity.of_failed(genuine, "ForgedEvent").id
    assert (failed.event_type, failed.subject) == ("thing.happened.v1", None)
