from datetime import UTC, datetime, timedelta

import pytest

from shared.errors import InvalidInput
from shared.operations.history.queries import parse_since, parse_type

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["order.placed", "order.placed.v1"])
def test_a_type_is_given_with_or_without_its_version(text: str) -> None:
    assert parse_type(text) == {"order.placed.v1"}


def test_an_unknown_type_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match=r"order\.eaten.*order\.placed"):
        parse_type("order.eaten")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2d", NOW - timedelta(days=2)),
        ("3h", NOW - timedelta(hours=3)),
        ("30m", NOW - timedelta(minutes=30)),
        ("45s", NOW - timedelta(seconds=45)),
        ("2026-11-18T10:00+02:00", datetime(2026, 11, 18, 8, tzinfo=UTC)),
        ("2026-11-18T10:00Z", datetime(2026, 11, 18, 10, tzinfo=UTC)),
        ("2026-11-18", datetime(2026, 11, 18, tzinfo=UTC)),
    ],
)
@pytest.mark.usefixtures("far_east")
def test_a_time_is_parsed(text: str, expected: datetime) -> None:
    assert parse_since(text, now=NOW) == expected


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "d", "-2d", "2 d", "2w", "٢d", "9999999d"]
)
def test_what_is_not_a_time_is_refused_with_the_forms_it_may_have(text: str) -> None:
    with pytest.raises(InvalidInput, match="write it like 2d, 3h"):
        parse_since(text, now=NOW)


@pytest.mark.parametrize("text", ["999999d", "0001-01-01T00:00+14:00"])
def test_a_time_outside_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is outside the range of the calendar"):
        parse_since(text, now=NOW)
