from datetime import UTC, datetime, timedelta

from shared.history.retention import TruncatedHistory, truncated_history
from tests.support.order_events import placed
from tests.support.tape import Tape, garbage

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_a_complete_history_is_not_truncated() -> None:
    assert truncated_history(Tape([placed("ORD-1")])) is None
    assert truncated_history(Tape([])) is None


def test_a_truncated_history_names_the_time_of_its_oldest_event() -> None:
    kept = Tape([garbage(), placed("ORD-9", occurred_at=NOON)], dropped=100)

    truncated = truncated_history(kept)

    assert truncated == TruncatedHistory(NOON)
    assert truncated.sentence == (
        "the history begins at 2026-11-20 12:00:00 UTC; older events were dropped"
    )


def test_a_history_of_which_all_was_dropped_says_that_no_event_is_kept() -> None:
    truncated = truncated_history(Tape([], dropped=100))

    assert truncated == TruncatedHistory(None)
    assert truncated.sentence == "the history was dropped: no event is kept any more"


def test_a_truncated_history_affects_only_queries_for_dropped_events() -> None:
    truncated = TruncatedHistory(NOON)

    assert truncated.affects(None)
    assert truncated.affects(NOON - timedelta(days=1))
    assert not truncated.affects(NOON)
    assert TruncatedHistory(None).affects(NOON)
