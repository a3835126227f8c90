"""Text that people write on one line: addresses, reasons and names, in any script.

- Letters of all scripts, with their marks and joiners, are accepted and kept as they were written.
  Text is not normalised to NFC, which would replace characters of names by others, such as U+FA19
  by U+795E; what is compared is normalised for that (`is_same_text`).
- Every kind of space counts as a space. Several are written as one, none at the beginning and end.
- What steers a terminal or a layout is refused: control characters, line and paragraph separators,
  those that change the direction of text, other invisible formats, and tags. So is what has no
  meaning for the reader: private use and noncharacters.

The rules do not depend on the Unicode version of Python, so that a later step, on another machine,
refuses nothing that was accepted. Sources: Unicode 17, sections 23.2 to 23.9;
https://www.unicode.org/reports/tr36/ (bidirectional text).
"""

import re
import unicodedata
from typing import Any

from pydantic import Field

SPACES = "\\u0020\\u00a0\\u1680\\u2000-\\u200b\\u202f\\u205f\\u3000"
"""All spaces, and U+200B, which separates words where no space is seen (Khmer, Thai)."""

REFUSED = (
    "\\u0000-\\u001f\\u007f-\\u009f"  # control characters
    "\\u00ad\\u2060-\\u2065\\ufeff"  # invisible: hyphens, joiners of words, operators
    "\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u206f"  # the direction of text
    "\\u2028\\u2029"  # line and paragraph separators
    "\\ue000-\\uf8ff\\ufdd0-\\ufdef\\ufff0-\\ufffb\\ufffe\\uffff"  # without meaning, annotations
    # Layout of hieroglyphs, shorthand and music; beyond U+40000 all but variation selectors.
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U0001fffe\U0001ffff\U0002fffe\U0002ffff\U0003fffe-\U000e00ff\U000e01f0-\U0010ffff"
)
"""Characters of a class in regular expressions of Python, and of JSON Schema (ECMA-262)."""

JOINERS = "\\u180e\\u200c\\u200d"
"""They shape the letters and emoji beside them: accepted, but no text by themselves."""

ALWAYS_ENFORCED = "x-always-enforced"
"""The JSON Schema keyword for rules that were enforced before the published schema stated them."""

_NAMES = {"\0": "NULL", "\t": "TAB", "\n": "LINE FEED", "\r": "CARRIAGE RETURN", "\x1b": "ESCAPE"}
"""Of control characters, which have no names in Unicode."""

_REFUSED = re.compile(f"[{REFUSED}]")
_SPACES = re.compile(f"[{SPACES}]+")
_VISIBLE = re.compile(f"[^{SPACES}{JOINERS}]")


def line_field(max_length: int) -> Any:  # noqa: ANN401 - a FieldInfo
    """The limits of such a text, as pydantic and JSON Schema state them; characters as written."""
    return Field(
        max_length=max_length,
        description=f"1 to {max_length} printable characters on one line, of any script",
        json_schema_extra={
            "minLength": 1,
            "pattern": _VISIBLE.pattern,
            "not": {"pattern": _REFUSED.pattern},
            ALWAYS_ENFORCED: True,
        },
    )


def one_line(text: str) -> str:
    """The text with plain single spaces.

    Raises:
        ValueError: it is blank, or holds a character that is refused; the message names that.
    """
    if found := _REFUSED.search(text):
        raise ValueError(f"should be printable characters on one line, without {name_of(found[0])}")
    if not _VISIBLE.search(text):
        raise ValueError("should be printable characters on one line, and not blank")
    return _SPACES.sub(" ", text).strip(" ")


def is_same_text(one: str, other: str) -> bool:
    """Whether two texts differ in spaces or in how their letters are composed only."""
    return _comparable(one) == _comparable(other)


def name_of(character: str) -> str:
    """A character's code point and name, such as `U+202E RIGHT-TO-LEFT OVERRIDE`."""
    name = _NAMES.get(character) or unicodedata.name(character, _kind_of(character))
    return f"U+{ord(character):04X} {name}".rstrip()


def _comparable(text: str) -> str:
    return unicodedata.normalize("NFC", _SPACES.sub(" ", text).strip(" "))


def _kind_of(character: str) -> str:
    return "control character" if unicodedata.category(character) == "Cc" else ""
