"""Converts a CloudEvent in binary content mode to the same event in structured mode.

In binary mode the attributes are headers, and the body is the data alone. All that is behind a
broker's adapter, such as the inbox, dead letters and replays, knows structured mode only. So the
result is always the same for the same message, and nothing is lost, whether the event is valid or
not: the codec decides about that.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md
section 3.1. The prefix `ce-` is that of the CloudEvents SDKs' binding for RabbitMQ:
https://github.com/knative-extensions/eventing-rabbitmq/blob/main/cloudevents-protocol-spec/spec.md
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping

from pydantic_core import to_json

from shared.errors import MalformedEvent
from shared.messaging.envelope import JSON_CONTENT, is_json
from shared.messaging.parsing import BYTE_ORDER_MARK, LARGEST_EVENT_BYTES, parse_value

STRUCTURED = "application/cloudevents"
"""With this its content type begins, a message is in structured mode, whatever its headers are."""

_ATTRIBUTE = re.compile(r"(?:cloudEvents_|cloudEvents:|ce-)(?P<name>[a-z0-9]{1,100})")

_ELSEWHERE = frozenset({"data", "datacontenttype"})
"""These are the body and its content type, never headers."""


def structured_body(headers: Mapping[str | bytes, object], content_type: str, body: bytes) -> bytes:
    """The body of the same event in structured mode.

    A message without a header for `specversion` is not in binary mode, nor is one that names the
    media type of structured mode: its body is returned unchanged.

    Args:
        content_type: of the body; empty if unknown, which counts as JSON if the body is JSON.
    """
    if content_type[: len(STRUCTURED)].lower() == STRUCTURED:
        return body
    # Two values of an attribute, under two prefixes, become a key twice, which is refused.
    attributes = sorted({_member(name, value) for name, value in _attributes(headers)})
    if not any(each.startswith(b'"specversion":') for each in attributes):
        return body
    if len(body) > LARGEST_EVENT_BYTES:
        return body  # refused for its size
    if content_type:
        attributes.append(_member("datacontenttype", content_type))
    return b"{%b}" % b",".join([*attributes, *_data(body, content_type)])


def _attributes(headers: Mapping[str | bytes, object]) -> Iterator[tuple[str, object]]:
    for header, value in headers.items():
        match = _ATTRIBUTE.fullmatch(header) if isinstance(header, str) else None
        if match and match["name"] not in _ELSEWHERE:
            yield match["name"], value


def _member(name: str, value: object) -> bytes:
    encoded = to_json(value, bytes_mode="base64", inf_nan_mode="null", fallback=str)
    return b'"%b":%b' % (name.encode(), encoded)


def _data(body: bytes, content_type: str) -> Iterator[bytes]:
    if body and _is_json_text(body, content_type or JSON_CONTENT):
        yield b'"data":%b' % body
    elif body:
        yield b'"data_base64":"%b"' % b64encode(body)


def _is_json_text(body: bytes, content_type: str) -> bool:
    """Whether the body can be a part of a JSON text as it is."""
    if not is_json(content_type) or body.startswith(BYTE_ORDER_MARK):
        return False
    try:
        parse_value(body, "the data")
    except MalformedEvent:
        return False
    return True
