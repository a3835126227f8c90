"""The copy of the schema is that of the npm package @asyncapi/specs 6.11.1 (Apache-2.0)."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker

from shared import __version__
from shared.messaging.rabbitmq.wire import REPLAYS_HEADER
from shared.operations.catalog.asyncapi import asyncapi
from shop import registry
from tests.support.commanding import Shop

ROOT = Path(__file__).parents[5]
SPECIFICATION = json.loads((ROOT / "tests" / "data" / "asyncapi-3.0.0.json").read_text())
DOCUMENT: dict[str, Any] = json.loads(json.dumps(asyncapi(registry.all_services())))


def test_the_document_is_valid_asyncapi_3() -> None:
    validator = Draft7Validator(SPECIFICATION)

    assert [each.message for each in validator.iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param(("asyncapi",), "2.6.0", id="version"),
        pytest.param(("channels", "order.placed", "unknown"), "value", id="channel"),
        pytest.param(("operations", "orders.receives", "action"), "invalid", id="action"),
        pytest.param(
            ("channels", "queue.orders", "bindings", "amqp", "is"), "exchange", id="binding"
        ),
        pytest.param(
            ("components", "messages", "order.placed.v1", "payload", "type"),
            "invalid",
            id="payload",
        ),
    ],
)
def test_an_invalid_document_is_detected(path: tuple[str, ...], value: str) -> None:
    document = json.loads(json.dumps(DOCUMENT))
    part = document
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value

    assert not Draft7Validator(SPECIFICATION).is_valid(document)


def test_every_reference_can_be_resolved() -> None:
    references = [*_references(DOCUMENT)]

    assert len(references) > 50
    for each in references:
        assert _at(each), each


def test_each_service_sends_what_it_publishes_and_receives_what_it_subscribes_to() -> None:
    operations = DOCUMENT["operations"]

    assert {name for name in operations if ".sends." in name} == {
        "inventory.sends.stock.ran_short.v1",
        "inventory.sends.stock.reserved.v1",
        "orders.sends.order.cancelled.v1",
        "orders.sends.order.placed.v1",
        "orders.sends.payment.received.v1",
        "shipping.sends.order.shipped.v1",
    }
    receiving = operations["email.receives"]
    assert receiving["action"] == "receive"
    assert [each["$ref"].rpartition("/")[2] for each in receiving["messages"]] == [
        "order.cancelled.v1",
        "order.placed.v1",
        "order.shipped.v1",
    ]
    for name, each in operations.items():
        channel = each["channel"]["$ref"]
        assert all(message["$ref"].startswith(f"{channel}/") for message in each["messages"]), name


def test_channels_have_the_names_of_exchange_and_queue() -> None:
    topic = DOCUMENT["channels"]["order.placed"]["bindings"]["amqp"]
    queue = DOCUMENT["channels"]["queue.loyalty"]

    assert (topic["exchange"]["name"], topic["exchange"]["type"]) == ("events", "topic")
    assert queue["bindings"]["amqp"]["queue"]["name"] == "loyalty"
    assert queue["description"] == "Bound to events by order.cancelled, order.placed."


def test_each_message_has_examples_that_match_its_payload() -> None:
    for name, message in DOCUMENT["components"]["messages"].items():
        validator = Draft202012Validator(message["payload"], format_checker=FormatChecker())
        assert message["examples"], name
        for example in message["examples"]:
            validator.validate(example["payload"])


def test_headers_are_those_of_the_broker() -> None:
    for message in DOCUMENT["components"]["messages"].values():
        assert message["headers"]["properties"].keys() == {REPLAYS_HEADER}


def test_the_document_has_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_BROKER_URL", "amqp://user:canary@secret.example/")

    text = json.dumps(asyncapi(registry.all_services()))

    assert "canary" not in text
    assert "secret.example" not in text


def test_the_version_is_that_of_the_program() -> None:
    assert asyncapi(registry.all_services())["info"]["version"] == __version__


def test_the_command_prints_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = Shop(monkeypatch, capsys)("events", "catalog", "--format", "asyncapi")

    assert result.json == DOCUMENT


def _references(part: Any) -> Any:
    if isinstance(part, list):
        for each in part:
            yield from _references(each)
    if isinstance(part, dict):
        for name, each in part.items():
            if name == "$ref":
                yield each
            else:
                yield from _references(each)


def _at(reference: str) -> Any:
    part: Any = DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        part = part[name]
    return part
