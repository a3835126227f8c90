"""Says in a sentence of this project what a value should be, instead of pydantic's own text."""

from collections.abc import Mapping
from typing import Any

_SENTENCES = {
    "missing": "is missing",
    "string_type": "should be text",
    "string_too_short": "should have at least {min_length} characters",
    "string_too_long": "should have at most {max_length} characters",
    "literal_error": "should be {expected}",
    "enum": "should be {expected}",
    "greater_than": "should be above {gt}",
    "greater_than_equal": "should be at least {ge}",
    "less_than": "should be below {lt}",
    "less_than_equal": "should be at most {le}",
    "decimal_max_digits": "should have at most {max_digits} digits",
    "decimal_max_places": "should have at most {decimal_places} decimals",
    "decimal_whole_digits": "should have at most {whole_digits} digits before the decimals",
    "too_short": "should have at least {min_length} entries",
    "too_long": "should have at most {max_length} entries",
    "path_not_file": "there is no such file",
    "path_not_directory": "there is no such folder",
    "extra_forbidden": "there is no such field",
    "finite_number": "should be a number with an end",
}
_KINDS = {
    "int": "should be a whole number",
    "float": "should be a number",
    "decimal": "should be a decimal number, such as 99.99",
    "bool": "should be true or false",
    "date": "should be a date and a time with an offset (RFC 3339)",
    "datetime": "should be a date and a time with an offset (RFC 3339)",
    "timezone": "should be a time with an offset (RFC 3339)",
    "uuid": "should be a UUID",
    "dict": "should be an object",
    "mapping": "should be an object",
    "model": "should be an object",
    "list": "should be a list",
    "json": "should be JSON",
    "path": "should be a path",
    "url": "should be a URL",
}
_OURS = "value_error"
"""The type of error that a validator of this project raises, with a sentence of its own."""


def sentence(error: Mapping[str, Any]) -> str:
    """The sentence for one error of pydantic's `ValidationError.errors()`; it holds no value."""
    kind: str = error["type"]
    if kind == _OURS:
        return str(error["msg"]).removeprefix("Value error, ")
    if kind in _SENTENCES:
        return _SENTENCES[kind].format_map(error.get("ctx", {}))
    return _KINDS.get(kind.partition("_")[0], "is not valid")
