"""The catalog as an AsyncAPI 3.0 document: the same facts, for tools that know that format.

A channel for each topic of the exchange `events`, and one for each service's queue; an operation
for each thing that a service sends or receives. It holds addresses of nobody and no credentials.

Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from collections.abc import Sequence
from typing import Any

from shared.events.schemas import Schema
from shared.messaging.codec import CONTENT_TYPE
from shared.messaging.topology import EVENTS
from shared.operations.catalog.catalog import Entry, catalog
from shared.runtime.service import AnyService

VERSION = "1.0.0"
"""Of this program."""

_BINDING = {"bindingVersion": "0.3.0"}

_PROPERTIES = {
    "message_id": "the event's id",
    "type": "the event's type",
    "correlation_id": "the conversation",
    "timestamp": "when it happened, in seconds",
    "app_id": "the service that says so",
    "delivery_mode": "2: kept on disk",
}

Part = dict[str, Any]


def asyncapi(services: Sequence[AnyService]) -> Part:
    """The document, ready for JSON."""
    entries = catalog(services)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Past Tense",
            "version": VERSION,
            "description": "What happens in the shop: every event, who says so and who reacts.",
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "rabbitmq": {
                "host": "rabbitmq:5672",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "description": "RabbitMQ, as docker-compose.yml names it.",
                "security": [_ref("components", "securitySchemes", "password")],
            }
        },
        "channels": _topics(entries) | _queues(services, entries),
        "operations": _sends(entries) | _receives(services, entries),
        "components": {
            "messages": {each.type: _message(each) for each in entries},
            "securitySchemes": {
                "password": {
                    "type": "userPassword",
                    "description": "A user for each service, who may do what it declares.",
                }
            },
        },
    }


def _topics(entries: Sequence[Entry]) -> Part:
    exchange = {"name": EVENTS, "type": "topic", "durable": True, "autoDelete": False}
    return {
        topic: {
            "address": topic,
            "messages": _messages([each for each in entries if each.topic == topic]),
            "bindings": {"amqp": {"is": "routingKey", "exchange": exchange} | _BINDING},
        }
        for topic in sorted({each.topic for each in entries})
    }


def _queues(services: Sequence[AnyService], entries: Sequence[Entry]) -> Part:
    kind = {"durable": True, "exclusive": False, "autoDelete": False}
    return {
        f"queue.{service.name}": {
            "address": service.name,
            "description": f"Bound to {EVENTS} by {', '.join(sorted(service.topics))}.",
            "messages": _messages(_read_by(service, entries)),
            "bindings": {
                "amqp": {"is": "queue", "queue": {"name": service.name} | kind} | _BINDING
            },
        }
        for service in services
        if service.subscriptions
    }


def _sends(entries: Sequence[Entry]) -> Part:
    return {
        f"{name}.sends.{each.type}": {
            "action": "send",
            "channel": _ref("channels", each.topic),
            "messages": [_ref("channels", each.topic, "messages", each.type)],
            "summary": each.says,
            "bindings": {
                "amqp": {"deliveryMode": 2, "mandatory": True, "timestamp": True} | _BINDING
            },
        }
        for each in entries
        for name in each.publishers
    }


def _receives(services: Sequence[AnyService], entries: Sequence[Entry]) -> Part:
    return {
        f"{service.name}.receives": {
            "action": "receive",
            "channel": _ref("channels", f"queue.{service.name}"),
            "messages": [
                _ref("channels", f"queue.{service.name}", "messages", each.type)
                for each in _read_by(service, entries)
            ],
            "description": "\n".join(
                f"- `{each.type}`: {' '.join(each.reactions[service.name])}"
                for each in _read_by(service, entries)
            ),
            "bindings": {"amqp": {"ack": True} | _BINDING},
        }
        for service in services
        if service.subscriptions
    }


def _message(entry: Entry) -> Part:
    return {
        "name": entry.type,
        "title": entry.type,
        "summary": entry.says,
        "contentType": CONTENT_TYPE,
        "headers": {
            "type": "object",
            "properties": {
                "shop-replays": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "how often a person has sent it again",
                }
            },
        },
        "payload": _payload(entry.schema),
        "correlationId": {"location": "$message.payload#/correlationid"},
        "examples": [
            {"name": name, "payload": example} for name, example in entry.examples.items()
        ],
        "bindings": {"amqp": {"contentEncoding": "utf-8", "messageType": entry.type} | _BINDING},
        "x-amqp-properties": _PROPERTIES,
    }


def _payload(schema: Schema) -> Schema:
    # AsyncAPI's own schemas are those of draft 7, and ours hold nothing that came later.
    return {key: value for key, value in schema.items() if key != "$schema"}


def _read_by(service: AnyService, entries: Sequence[Entry]) -> list[Entry]:
    return [each for each in entries if service.name in each.reactions]


def _messages(entries: Sequence[Entry]) -> Part:
    return {each.type: _ref("components", "messages", each.type) for each in entries}


def _ref(*path: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(path)}
