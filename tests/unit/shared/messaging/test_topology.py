import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.messaging.topology import Retry, dead_queue, topics_matched

WORDS = st.sampled_from(["order", "placed", "stock", "v1"])
TOPICS = st.lists(WORDS, min_size=1, max_size=5).map(".".join)
PATTERNS = st.lists(WORDS | st.sampled_from(["*", "#"]), min_size=1, max_size=5).map(".".join)


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("order.placed", "order.placed", True),
        ("order.placed", "order.shipped", False),
        ("order.*", "order.placed", True),
        ("order.*", "order", False),
        ("order.*", "order.placed.late", False),
        ("*.placed", "order.placed", True),
        ("*", "order.placed", False),
        ("#", "order.placed.late", True),
        ("#", "", True),
        ("order.#", "order", True),
        ("order.#", "order.placed.late", True),
        ("#.placed", "placed", True),
        ("#.placed.#", "order.placed.late", True),
        ("order.#.late", "order.late", True),
        ("order.#.late", "order.placed", False),
        ("order.placed", "orderXplaced", False),
    ],
)
def test_a_star_matches_one_word_and_a_hash_any_number(
    pattern: str, topic: str, *, expected: bool
) -> None:
    assert topics_matched([pattern], topic) is expected


@given(pattern=PATTERNS, topic=TOPICS)
def test_matching_agrees_with_an_equivalent_regular_expression(pattern: str, topic: str) -> None:
    regexes = {"*": r"\.[^.]+", "#": r"(\.[^.]+)*"}
    expression = "".join(regexes.get(word, rf"\.{word}") for word in pattern.split("."))

    assert topics_matched([pattern], topic) is bool(re.fullmatch(expression, f".{topic}"))


def test_one_matching_pattern_of_several_is_enough() -> None:
    assert topics_matched({"stock.*", "order.placed"}, "order.placed")
    assert not topics_matched({"stock.*", "order.placed"}, "order.shipped")
    assert not topics_matched(set(), "order.placed")


def test_each_failure_delays_longer_up_to_the_maximum() -> None:
    retry = Retry(delay=10, max_delay=25)

    assert [retry.delay_after(failures) for failures in (1, 2, 3, 4)] == [10, 20, 25, 25]


def test_the_dead_queue_has_the_name_of_its_queue() -> None:
    assert dead_queue("email") == "email.dead"
