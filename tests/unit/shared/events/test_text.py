"""What people of any script write on one line, and what is refused."""

import json
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from shared.events.fields import Reason, ShippingAddress
from shared.events.text import is_same_text, name_of, one_line

WRITTEN = {
    "japanese": ("東京都千代田区　1-1", "東京都千代田区 1-1"),
    "french": ("12\u00a0bis, rue de l’Église\u202f: porte «\u00a0A\u00a0»",) * 2,
    "hindi": ("क्\u200dष, सड़क १२",) * 2,
    "persian": ("خیابان آزادی، پلاک ۱۲، می\u200cخواهم",) * 2,
    "arabic with vowels and a number sign": ("شَارِع المَلِك \u0600١٢",) * 2,
    "hebrew": ("רח' הרצל 5, ת\"א",) * 2,
    "thai": ("99/1 ถนนสุขุมวิท",) * 2,
    "khmer": ("ផ្ទះ\u200bលេខ", "ផ្ទះ លេខ"),
    "mongolian": ("ᠮᠣᠩᠭᠣᠯ\u180eᠠ",) * 2,
    "vietnamese, decomposed": ("Đường Lê Lợi",) * 2,
    "russian": ("ул. Ленина, д. № 5",) * 2,
    "irish": ("O'Connell’s ʻokina",) * 2,
    "korean": ("서울특별시 종로구 세종대로 175",) * 2,
    "an emoji of several": ("Casa 👩\u200d👩\u200d👧 ❤️ 🇮🇪",) * 2,
    "a name's own character": ("\ufa19原",) * 2,
    "later than Python's Unicode": ("house \U000323b0\u1c8a",) * 2,
    "many spaces": ("  12 \u2003 Main\u3000\u3000St ", "12 Main St"),
}

REFUSED = {
    "a line break": "a\nb",
    "a carriage return": "a\rb",
    "a tab": "a\tb",
    "NUL": "a\0b",
    "an escape sequence": "a\x1b[31mb",
    "a C1 control": "a\x9b2Jb",
    "next line": "a\x85b",
    "a line separator": "a\u2028b",
    "a paragraph separator": "a\u2029b",
    "a bidirectional override": "a\u202eb",
    "a bidirectional embedding": "a\u202ab",
    "a bidirectional isolate": "a\u2066b",
    "a mark of direction": "a\u200fb",
    "an Arabic mark of direction": "a\u061cb",
    "a zero width no-break space": "a\ufeffb",
    "a word joiner": "a\u2060b",
    "a soft hyphen": "a\u00adb",
    "a deprecated format": "a\u206ab",
    "an annotation": "a\ufff9b",
    "a tag": "a\U000e0041b",
    "a language tag": "a\U000e0001b",
    "a layout of hieroglyphs": "a\U00013430b",
    "private use": "a\ue000b",
    "a noncharacter": "a\ufdd0b",
    "the last noncharacter": "a\U0010ffffb",
}

BLANK = ["", " ", "\u3000", "\u200d", "\u200b \u200c"]

CLASS: TypeAdapter[str] = TypeAdapter(ShippingAddress)
SCHEMA = Draft202012Validator(json.loads(json.dumps(CLASS.json_schema())))


def plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u202f", " ")


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("kind", [ShippingAddress, Reason])
def test_what_people_write_is_accepted_with_plain_spaces(kind: Any, name: str) -> None:
    written, kept = WRITTEN[name]

    assert TypeAdapter(kind).validate_python(written) == plain(kept)
    assert SCHEMA.is_valid(written)


@pytest.mark.parametrize("name", REFUSED)
def test_what_steers_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(ValidationError) as refused:
        CLASS.validate_python(REFUSED[name])

    sentence = refused.value.errors()[0]["msg"]
    assert f"without U+{ord(REFUSED[name][1]):04X}" in sentence
    assert sentence.removeprefix("Value error, ").isprintable()
    assert not SCHEMA.is_valid(REFUSED[name])


@pytest.mark.parametrize("text", BLANK)
def test_blank_text_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        CLASS.validate_python(text)
    assert not SCHEMA.is_valid(text)


def test_every_character_of_earlier_versions_is_still_read() -> None:
    printable = filter(str.isprintable, map(chr, range(sys.maxunicode + 1)))

    assert [each for each in printable if not _is_accepted(f"a{each}")] == []


def test_every_refused_character_is_invisible_or_without_meaning() -> None:
    refused = [chr(n) for n in range(sys.maxunicode + 1) if not _is_accepted(f"a{chr(n)}")]

    kinds = {unicodedata.category(each) for each in refused}
    assert kinds == {"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=501))
def test_the_class_and_the_schema_have_the_same_verdict(text: str) -> None:
    assert SCHEMA.is_valid(text) == _is_accepted(text)


@given(st.text(max_size=20))
def test_accepted_text_is_accepted_by_the_next_step_unchanged(text: str) -> None:
    try:
        once = one_line(text)
    except ValueError:
        return
    assert one_line(once) == once
    assert len(once) <= len(text)
    assert len(once.splitlines()) == 1


def test_composed_and_decomposed_letters_are_the_same_text() -> None:
    assert is_same_text("Zoe\u0308  1", "Zo\u00eb\u30001")
    assert not is_same_text("Zoe 1", "Zo\u00eb 1")


def test_a_control_character_has_a_name() -> None:
    assert name_of("\n") == "U+000A LINE FEED"
    assert name_of("\x07") == "U+0007 control character"
    assert name_of("\u202e") == "U+202E RIGHT-TO-LEFT OVERRIDE"


def _is_accepted(text: str) -> bool:
    try:
        CLASS.validate_python(text)
    except ValidationError:
        return False
    return True
