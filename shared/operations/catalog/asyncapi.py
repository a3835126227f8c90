"""The catalog as an AsyncAPI 3.0 document, for tools that read that format.

It has a channel for each topic of the exchange `events` and for each service's queue, and an
operation for each event that a service publishes and for each queue that a service consumes. It
contains no credentials, and no address but the name of the broker in docker-compose.yml.

Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from collections.abc import Sequence
from typing import Any

from shared import __version__
from shared.messaging.codec import CONTENT_TYPE
from shared.messaging.topology import EVENTS
from shared.operations.catalog.catalog import CatalogEntry, catalog
from shared.runtime.service import AnyService

_BINDING = {"bindingVersion": "0.3.0"}

_PROPERTIES = {
    "message_id": "the event's id",
    "type": "the event's type",
    "correlation_id": "the id that all events of one order share",
    "timestamp": "when it occurred, in seconds since 1970",
    "app_id": "the service that published it",
    "delivery_mode": "2: persistent",
}

Part = dict[str, Any]


def asyncapi(services: Sequence[AnyService]) -> Part:
    """Return the document as a value that JSON can represent."""
    entries = catalog(services)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Past Tense",
            "version": __version__,
            "description": "The events of the shop, with their publishers and subscribers.",
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
            "messages": {entry.type: _message(entry) for entry in entries},
            "securitySchemes": {
                "password": {
                    "type": "userPassword",
                    "description": "One user for each service, with the permissions that it needs.",
                }
            },
        },
    }


def _topics(entries: Sequence[CatalogEntry]) -> Part:
    exchange = {"name": EVENTS, "type": "topic", "durable": True, "autoDelete": False}
    return {
        topic: {
            "address": topic,
            "messages": _messages([entry for entry in entries if entry.topic == topic]),
            "bindings": {"amqp": {"is": "routingKey", "exchange": exchange} | _BINDING},
        }
        for topic in sorted({entry.topic for entry in entries})
    }


def _queues(services: Sequence[AnyService], entries: Sequence[CatalogEntry]) -> Part:
    arguments = {"durable": True, "exclusive": False, "autoDelete": False}
    return {
        f"queue.{service.name}": {
            "address": service.name,
            "description": f"Bound to {EVENTS} by {', '.join(sorted(service.topics))}.",
            "messages": _messages(_received(service, entries)),
            "bindings": {
                "amqp": {"is": "queue", "queue": {"name": service.name} | arguments} | _BINDING
            },
        }
        for service in services
        if service.subscriptions
    }


def _sends(entries: Sequence[CatalogEntry]) -> Part:
    return {
        f"{name}.sends.{entry.type}": {
            "action": "send",
            "channel": _ref("channels", entry.topic),
            "messages": [_ref("channels", entry.topic, "messages", entry.type)],
            "summary": entry.description,
            "bindings": {
                "amqp": {"deliveryMode": 2, "mandatory": True, "timestamp": True} | _BINDING
            },
        }
        for entry in entries
        for name in entry.publishers
    }


def _receives(services: Sequence[AnyService], entries: Sequence[CatalogEntry]) -> Part:
    return {
        f"{service.name}.receives": {
            "action": "receive",
            "channel": _ref("channels", f"queue.{service.name}"),
            "messages": [
                _ref("channels", f"queue.{service.name}", "messages", entry.type)
                for entry in _received(service, entries)
            ],
            "description": "\n".join(
                f"- `{entry.type}`: {' '.join(entry.reactions[service.name])}"
                for entry in _received(service, entries)
            ),
            "bindings": {"amqp": {"ack": True} | _BINDING},
        }
        for service in services
        if service.subscriptions
    }


def _message(entry: CatalogEntry) -> Part:
    return {
        "name": entry.type,
        "title": entry.type,
        "summary": entry.description,
        "contentType": CONTENT_TYPE,
        "headers": {
            "type": "object",
            "properties": {
                "shop-replays": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "how often a person has sent this message again",
                }
            },
        },
        # AsyncAPI expects draft 7; the contracts use no keyword of a later draft.
        "payload": {key: value for key, value in entry.schema.items() if key != "$schema"},
        "correlationId": {"location": "$message.payload#/correlationid"},
        "examples": [
            {"name": name, "payload": example} for name, example in entry.examples.items()
        ],
        "bindings": {"amqp": {"contentEncoding": "utf-8", "messageType": entry.type} | _BINDING},
        "x-amqp-properties": _PROPERTIES,
    }


def _received(service: AnyService, entries: Sequence[CatalogEntry]) -> list[CatalogEntry]:
    return [entry for entry in entries if service.name in entry.reactions]


def _messages(entries: Sequence[CatalogEntry]) -> Part:
    return {entry.type: _ref("components", "messages", entry.type) for entry in entries}


def _ref(*path: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(path)}
