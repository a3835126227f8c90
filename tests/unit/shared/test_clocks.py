from datetime import UTC, datetime, timedelta

import pytest

from shared.clocks import ahead

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("server", "difference"),
    [(0.0, 0.0), (0.4, 0.0), (3.5, 3.0), (-3.0, -2.0), (-0.5, 0.0)],
    ids=["the same", "within the question", "ahead", "behind", "within its second"],
)
def test_a_difference_is_what_the_question_and_the_answer_prove(
    server: float, difference: float
) -> None:
    earliest = NOON + timedelta(seconds=server)

    found = ahead(
        earliest,
        earliest + timedelta(seconds=1),
        asked=NOON,
        answered=NOON + timedelta(seconds=0.5),
    )

    assert found == difference
