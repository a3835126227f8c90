from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from shared.events import UnknownEvent
from shared.history.reading import HistoryEvent
from shared.operations.console import show
from shared.operations.history.rendering import as_cloud_event, as_line, print_timeline
from shared.operations.history.timeline import Reaction, Timeline, TimelineEntry
from shared.storage.event_audit import EventSummary, FailedAttempt
from tests.support.order_events import placed
from tests.support.tape import recorded

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def envelope(number: int, event_type: str, after: float) -> EventSummary:
    return EventSummary(UUID(int=number), event_type, NOON + timedelta(seconds=after))


def reaction(service: str, outcome: str, *errors: str, after: float | None = None) -> Reaction:
    failed = tuple(FailedAttempt("retried", error, f"{error} was raised", NOON) for error in errors)
    return Reaction(service=service, outcome=outcome, at=NOON, after=after, attempts=failed)


@pytest.fixture(autouse=True)
def _terminal_of_100_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def timeline(*entries: TimelineEntry) -> Timeline:
    return Timeline(order_id="ORD-1", entries=entries, notes=(), is_certain=True)


@pytest.mark.usefixtures("far_east")
def test_every_time_is_in_utc_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    event = placed("ORD-1", occurred_at=last)
    end = EventSummary(event.event_id, event.type, last)

    print_timeline(
        timeline(TimelineEntry(envelope=end, depth=0, cause=None, is_sent=True, reactions=()))
    )
    show([{"at": last}], as_json=False)

    shown = capsys.readouterr().out
    assert "ORD-1: 1 event, at 9999-12-31 23:59:59Z" in shown
    assert "\n23:59:59.000Z  order.placed.v1" in shown
    assert shown.rstrip().splitlines()[-1].strip() == "9999-12-31 23:59:59Z"
    assert as_line(HistoryEvent(recorded(event), event)).startswith(
        "9999-12-31 23:59:59.000Z  order.placed"
    )


def test_a_cloudevent_is_shown_without_its_byte_order_mark_so_that_every_parser_reads_it() -> None:
    event = placed("ORD-1")
    record = recorded(event)
    marked = replace(record, body=b"\xef\xbb\xbf" + record.body)

    assert as_cloud_event(HistoryEvent(marked, event)) == record.body.decode()


def test_a_type_that_could_be_personal_is_shown_as_its_digest() -> None:
    event = UnknownEvent(unknown_type="jane@example.com", occurred_at=NOON)

    line = as_line(HistoryEvent(recorded(event), event))

    assert "jane" not in line
    assert "sha256:8c87b489ce35" in line


@pytest.mark.parametrize(("width", "has_cause"), [(80, False), (100, True)])
def test_an_event_on_a_narrow_terminal_is_a_line_with_the_ends_of_its_ids(
    width: int, *, has_cause: bool
) -> None:
    cause = UUID(int=0xABCDEF12)
    event = placed("ORD-2GCCD-YA3KB", causation_id=cause)

    line = as_line(HistoryEvent(recorded(event), event), width=width)

    assert len(line) <= width
    assert str(event.event_id)[-8:] in line
    assert ("← abcdef12" in line) is has_cause


def test_a_timeline_of_one_event_has_a_time_and_no_duration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    placed = envelope(1, "order.placed.v1", 0)

    print_timeline(
        timeline(TimelineEntry(envelope=placed, depth=0, cause=None, is_sent=False, reactions=()))
    )

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ORD-1: 1 event, at 2026-11-2")
    assert lines[2].endswith("  order.placed.v1  not sent yet")


def test_a_timeline_of_several_days_shows_the_date_when_the_day_changes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    days = (0, 0, 1, 1, 9)
    entries = [
        TimelineEntry(
            envelope=envelope(number, "order.placed.v1", 86_400 * day),
            depth=0,
            cause=None,
            is_sent=True,
            reactions=(),
        )
        for number, day in enumerate(days)
    ]

    print_timeline(timeline(*entries))

    heading, *lines = capsys.readouterr().out.splitlines()
    assert NOON.strftime("from %Y-%m-%d") in heading
    dates = [line[:10] for line in lines if line and "order.placed" not in line]
    assert dates == [f"{NOON + timedelta(days=day):%Y-%m-%d}" for day in (1, 9)]


def test_the_event_ids_of_generated_order_ids_are_aligned() -> None:
    events = placed("ORD-2GCCD-YA3KB"), placed("ORD-1")

    columns = [
        as_line(HistoryEvent(recorded(event), event)).index(str(event.event_id)) for event in events
    ]

    assert columns[0] == columns[1]


def test_each_service_has_a_line_with_its_outcome_and_its_errors(
    capsys: pytest.CaptureFixture[str],
) -> None:
    placed, short = envelope(1, "order.placed.v1", 0), envelope(2, "stock.ran_short.v1", 90)
    reactions = [
        reaction("analytics", "handled", after=0.0123),
        reaction("email", "handled", "MailRefused", "MailRefused", "TimeoutError", after=150),
        reaction("loyalty", "dead", "Impossible", after=3),
        reaction("inventory", "retrying", "DeadlockDetected", "DeadlockDetected", after=1.5),
        reaction("shipping", "discarded", "Impossible", after=7200),
        reaction("gifts", "waiting"),
        reaction("orders", "unseen"),
        reaction("late", "unknown"),
        reaction("redriven", "sent again", "Impossible", after=3),
    ]

    print_timeline(
        timeline(
            TimelineEntry(envelope=placed, depth=0, cause=None, is_sent=True, reactions=reactions),
            TimelineEntry(
                envelope=short, depth=1, cause=placed, is_sent=True, reactions=reactions[:1]
            ),
        )
    )

    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("ORD-1: 2 events in 90.0 s, from 2026-11-2")
    assert [line.strip() for line in rest[2:11]] == [
        "✓ analytics  handled 12 ms after",
        "✓ email      handled 2 min after, at attempt 4 (2 × MailRefused, 1 × TimeoutError)",
        "✗ loyalty    dead 3.0 s after: 1 × Impossible; Impossible was raised",
        "↻ inventory  failed, will be retried: 2 × DeadlockDetected; last 1.5 s after",
        "– shipping   discarded 2 h after (1 × Impossible)",
        "… gifts      waiting",
        "? orders     its database cannot be read from here",
        "· late       unknown: it subscribed later, or its inbox was pruned",
        "↻ redriven   redriven: 1 × Impossible; died 3.0 s after",
    ]
    assert rest[12].endswith("  └─ stock.ran_short.v1  ← order.placed")
    assert rest[13].endswith("   ✓ analytics  handled 12 ms after")


def test_clocks_that_differ_are_said_instead_of_a_duration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    handled = Reaction(service="email", outcome="handled", at=NOON, clock_difference=3.2)
    entry = TimelineEntry(
        envelope=envelope(1, "stock.reserved.v1", 0),
        depth=0,
        cause=envelope(2, "order.placed.v1", 5),
        is_sent=True,
        reactions=[handled],
        before_cause=5.0,
        from_future=7200.0,
    )

    print_timeline(timeline(entry))

    shown = capsys.readouterr().out
    assert "email      handled (clocks differ by at least 3.2 s)" in shown
    assert "clocks differ by at least 5.0 s; from the future: 2 h ahead of this clock" in shown
    assert (entry.record["seconds_before_cause"], entry.record["seconds_in_future"]) == (5.0, 7200)
    assert handled.record["after_seconds"] is None
    assert handled.record["clock_difference_seconds"] == 3.2
