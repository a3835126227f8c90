"""The attributes of a CloudEvent and its data, read from structured JSON mode.

It takes what CloudEvents 1.0.2 allows, with four limits of our own: `id` is a UUID, by which the
inbox knows the event; `time` is given; `source`, `type` and `subject` are at most 200 characters;
`source` is the name of a service where it counts, see `authenticity`.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

import re
from base64 import b64decode
from typing import Annotated, Any, Literal
from uuid import UUID, uuid5

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from shared.errors import MalformedEvent
from shared.events.fields import Timestamp, first_error
from shared.messaging.parsing import BASE64_KEY, parse_object, parse_value

JSON_CONTENT = "application/json"

_CONVERSATIONS = UUID("4b830085-fa1d-5e27-95a0-6555881b17ed")
"""The namespace of conversations that others name with a text (RFC 9562, section 5.5)."""

_MEDIA_TYPE = re.compile(
    r"[\w!#$&^.+-]{1,127}/(?P<subtype>[\w!#$&^.+-]{1,127})[ \t]*(;[^\x00-\x1f\x7f]*)?", re.ASCII
)
"""Source: https://www.rfc-editor.org/rfc/rfc6838, section 4.2; RFC 2045, section 5.1."""


def is_json(content_type: str) -> bool:
    """Whether a content type declares JSON: its subtype is `json` or ends in `+json`."""
    if content_type == JSON_CONTENT:
        return True
    media_type = _MEDIA_TYPE.fullmatch(content_type)
    subtype = media_type["subtype"].lower() if media_type else ""
    return subtype == "json" or subtype.endswith("+json")


def _conversation(value: Any) -> UUID | None:  # noqa: ANN401 - not validated yet
    """The same id for the same text; None for what cannot be an attribute of this kind."""
    is_text = isinstance(value, str | int) and not isinstance(value, bool) and value != ""
    return uuid5(_CONVERSATIONS, str(value)) if is_text else None


def _media_type(value: str) -> str:
    if value != JSON_CONTENT and _MEDIA_TYPE.fullmatch(value) is None:
        raise ValueError("should be a media type, such as application/json")
    return value


def _text(description: str) -> Any:  # noqa: ANN401 - a FieldInfo
    """A text that a log line, a terminal and both databases can hold.

    PostgreSQL cannot store NUL, a log line must not contain a line break, and a terminal interprets
    control characters and those that change the direction of text. CloudEvents allows neither
    control characters nor noncharacters.
    """
    pattern = (
        r"^[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
        r"\ufdd0-\ufdef\ufffe\uffff]+$"
    )
    return Field(max_length=200, pattern=pattern, description=description)


class Envelope(BaseModel):
    """The attributes that every CloudEvent has, whatever its type; null equals unset.

    Extensions never make an event unreadable: a `correlationid` that is no UUID is replaced by one
    made from it, the same for the same text; a `causationid` that is none is ignored.

    Attributes:
        datacontenttype: empty if the data is binary and its type is not given.
        data: not validated: JSON of any shape, None if there is none; bytes if it is not JSON.
    """

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    specversion: Literal["1.0"]
    id: UUID = Field(description="a UUID")
    source: Annotated[
        str, _text("1 to 200 printable characters, the name of a service such as /orders")
    ]
    type: Annotated[str, _text("1 to 200 printable characters, such as order.placed.v1")]
    subject: Annotated[str | None, _text("1 to 200 printable characters")] = None
    time: Timestamp
    datacontenttype: Annotated[str, AfterValidator(_media_type)] | None = None
    correlationid: Annotated[
        UUID | Annotated[Any, AfterValidator(_conversation)], Field(union_mode="left_to_right")
    ] = None
    causationid: Annotated[
        UUID | Annotated[Any, AfterValidator(lambda _: None)], Field(union_mode="left_to_right")
    ] = None
    data: Any = None

    @property
    def content_type(self) -> str:
        """The type of the data; empty if it is binary and its type is not given."""
        return self.datacontenttype or ("" if isinstance(self.data, bytes) else JSON_CONTENT)

    @property
    def has_json(self) -> bool:
        """Whether the data is JSON, as its type says."""
        return not isinstance(self.data, bytes) and is_json(self.content_type)


def read(body: bytes, *, flaw: str = "") -> Envelope:
    """Decode the envelope in the body of a message.

    Args:
        flaw: why the message cannot be an event, such as `Delivery.flaw`; usually empty.

    Raises:
        MalformedEvent: the body is not a CloudEvent; the message names the field but no value.
        EventTooLarge: the body is larger than 1 MiB; it is not parsed.
    """
    if flaw:
        raise MalformedEvent(flaw)
    attributes = parse_object(body)
    if "data_base64" in attributes:
        _decode_binary_data(attributes, body)
    try:
        return Envelope.model_validate(attributes)
    except ValidationError as error:
        raise MalformedEvent(f"not a CloudEvent: {first_error(error, Envelope)}") from None


def _decode_binary_data(attributes: dict[str, Any], body: bytes) -> None:
    """Replace `data_base64` by `data`: a JSON value if its type says so, else bytes."""
    encoded = attributes.pop("data_base64")
    if encoded is None:
        return
    if "data" in attributes:
        raise MalformedEvent("not a CloudEvent: data_base64 should be given without data")
    if BASE64_KEY not in body:  # `memory_of` would not see it
        raise MalformedEvent("not a CloudEvent: data_base64 should be written without escapes")
    try:
        content = b64decode(encoded.encode(), validate=True)
    except (ValueError, AttributeError):
        raise MalformedEvent("not a CloudEvent: data_base64 should be Base64 (RFC 4648)") from None
    content_type = attributes.get("datacontenttype")
    is_json_text = isinstance(content_type, str) and is_json(content_type)
    attributes["data"] = parse_value(content, "the data") if is_json_text else content
