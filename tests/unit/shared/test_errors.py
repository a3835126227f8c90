import re
from collections.abc import Iterator

import pytest

from shared import errors
from shared.errors import EventIsImmutable, NotKnownYet, ShopError, error_named

OWN = [
    each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, ShopError)
]


class LetterLost(NotKnownYet):
    """The letter was lost.

    Not part of the message.
    """


def test_the_default_message_is_the_first_line_of_the_docstring() -> None:
    assert str(LetterLost()) == "The letter was lost."
    assert str(LetterLost("letter 7 was lost")) == "letter 7 was lost"


@pytest.mark.parametrize("error", OWN, ids=lambda each: each.__name__)
def test_every_error_is_found_by_its_recorded_name(error: type[ShopError]) -> None:
    assert error_named(error.__name__) is error


def test_an_error_of_another_module_is_found_by_its_name() -> None:
    assert error_named("LetterLost") is LetterLost


@pytest.mark.parametrize("name", ["", "ValueError", "rejected", "shared.errors.NotKnownYet"])
def test_a_name_outside_the_tree_is_not_found(name: str) -> None:
    assert error_named(name) is None


def test_only_a_message_that_is_wrong_itself_cannot_succeed_on_a_redrive() -> None:
    names = {each.__name__ for each in OWN if not each.may_succeed_on_redrive}

    assert names == {"MalformedEvent", "EventTooLarge", "ForgedEvent", "ConflictingEvent"}


def test_the_tree_in_the_docstring_is_that_of_the_classes() -> None:
    drawn = re.findall(r"^ {4}([ │├└─]*)([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE)

    assert [(len(indent) // 4, name) for indent, name in drawn] == list(_tree(ShopError, 0))


def test_an_immutable_event_raises_an_attribute_error_like_any_frozen_object() -> None:
    assert issubclass(EventIsImmutable, AttributeError)
    assert str(EventIsImmutable("OrderPlaced.items cannot be set")).endswith("cannot be set")


def _tree(error: type[ShopError], depth: int) -> Iterator[tuple[int, str]]:
    yield depth, error.__name__
    for each in error.__subclasses__():
        if each in OWN:
            yield from _tree(each, depth + 1)
