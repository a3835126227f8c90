import pytest
from pydantic import TypeAdapter, ValidationError

from shared.events.fields import EmailAddress
from shared.mail_addresses import TypedEmailAddress, is_same_address

TYPED: TypeAdapter[str] = TypeAdapter(TypedEmailAddress)


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("Jane@EXAMPLE.com", "Jane@example.com"),
        ("jane@bücher.example", "jane@xn--bcher-kva.example"),
        ("jane@BÜCHER.example", "jane@xn--bcher-kva.example"),
        ("jane@bu\u0308cher.example", "jane@xn--bcher-kva.example"),
        ("jane@straße.de", "jane@xn--strae-oqa.de"),
        ("jane@東京。jp", "jane@xn--1lqs71d.jp"),
        ("jane@пример.рф", "jane@xn--e1afmkfd.xn--p1ai"),
        ("jane@XN--BCHER-KVA.example", "jane@xn--bcher-kva.example"),
    ],
)
def test_a_domain_is_written_in_ascii_and_lower_case(typed: str, written: str) -> None:
    assert TYPED.validate_python(typed) == written
    assert TypeAdapter(EmailAddress).validate_python(written) == written


@pytest.mark.parametrize("typed", ["jäne@example.com", "ｊane@example.com", "ジェーン@東京.jp"])
def test_a_local_part_beyond_ascii_is_refused_with_the_reason(typed: str) -> None:
    with pytest.raises(ValidationError, match="only ASCII characters before the @"):
        TYPED.validate_python(typed)


@pytest.mark.parametrize(
    "typed", ["jane@-ü.de", "jane@ü..de", "jane@☃.com", f"jane@{'ü' * 60}.de", "j@ü.de\n"]
)
def test_a_domain_that_cannot_exist_is_refused(typed: str) -> None:
    with pytest.raises(ValidationError, match="a domain that can exist"):
        TYPED.validate_python(typed)


@pytest.mark.parametrize("typed", ["jane@münchen", "@ü.de", "a@b@ü.de", "jane＠example.com", 5])
def test_what_is_no_plain_address_is_refused(typed: object) -> None:
    with pytest.raises(ValidationError):
        TYPED.validate_python(typed)


def test_an_event_has_a_domain_in_ascii_only() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(EmailAddress).validate_python("jane@bücher.example")


def test_addresses_are_compared_without_the_case_of_the_domain() -> None:
    assert is_same_address("Jane@Example.COM", "Jane@example.com")
    assert not is_same_address("Jane@example.com", "jane@example.com")
