from datetime import UTC, datetime, timedelta

from shared.history.retention import TruncatedHistory, truncated_history
from tests.support.histories import placed
from tests.support.tape import Tape, garbage

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_a_whole_history_is_not_said_to_begin_later() -> None:
    assert truncated_history(Tape([placed("ORD-1")])) is None
    assert truncated_history(Tape([])) is None


def test_a_history_shortened_by_retention_says_the_first_date_there_is() -> None:
    kept = Tape([garbage(), placed("ORD-9", occurred_at=NOON)], dropped=100)

    left = truncated_history(kept)

    assert left == TruncatedHistory(NOON)
    assert left.sentence == (
        "the history begins at 2026-11-20 12:00:00 UTC; what was before is not kept"
    )


def test_a_history_of_which_all_was_dropped_says_that_nothing_is_kept() -> None:
    left = truncated_history(Tape([], dropped=100))

    assert left == TruncatedHistory(None)
    assert left.sentence == "the history was dropped: no event is kept any more"


def test_only_who_wants_what_was_dropped_feels_it() -> None:
    left = TruncatedHistory(NOON)

    assert left.affects(None)
    assert left.affects(NOON - timedelta(days=1))
    assert not left.affects(NOON)
    assert TruncatedHistory(None).affects(NOON)
