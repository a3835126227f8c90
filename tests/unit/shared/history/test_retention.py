from datetime import UTC, datetime, timedelta

from shared.history.retention import Shortened, shortened
from tests.support.histories import placed
from tests.support.tape import Tape, garbage

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_a_whole_history_is_not_said_to_begin_later() -> None:
    assert shortened(Tape([placed("ORD-1")])) is None
    assert shortened(Tape([])) is None


def test_a_history_shortened_by_retention_says_the_first_date_there_is() -> None:
    kept = Tape([garbage(), placed("ORD-9", occurred_at=NOON)], dropped=100)

    left = shortened(kept)

    assert left == Shortened(NOON)
    assert left.sentence == (
        "the history begins at 2026-11-20 12:00:00 UTC; what was before is not kept"
    )


def test_a_history_of_which_all_was_dropped_says_that_nothing_is_kept() -> None:
    left = shortened(Tape([], dropped=100))

    assert left == Shortened(None)
    assert left.sentence == "the history was dropped: no event is kept any more"


def test_only_who_wants_what_was_dropped_feels_it() -> None:
    left = Shortened(NOON)

    assert left.is_felt(None)
    assert left.is_felt(NOON - timedelta(days=1))
    assert not left.is_felt(NOON)
    assert Shortened(None).is_felt(NOON)
