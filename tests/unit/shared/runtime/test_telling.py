from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from shared.runtime.story import Happening, Reaction, Timeline
from shared.runtime.telling import print_timeline
from shared.storage.reactions import Attempt, Envelope

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def envelope(number: int, event_type: str, after: float) -> Envelope:
    return Envelope(UUID(int=number), event_type, NOON + timedelta(seconds=after))


def reaction(service: str, outcome: str, *errors: str, after: float | None = None) -> Reaction:
    failed = tuple(Attempt("retried", error, f"{error} it was", NOON) for error in errors)
    return Reaction(service=service, outcome=outcome, at=NOON, after=after, attempts=failed)


@pytest.fixture(autouse=True)
def _at_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def told(*happenings: Happening) -> Timeline:
    return Timeline(order_id="ORD-1", happenings=happenings, notes=())


def test_an_order_of_one_event_has_a_time_and_no_length(capsys: pytest.CaptureFixture[str]) -> None:
    placed = envelope(1, "order.placed.v1", 0)

    print_timeline(
        told(Happening(envelope=placed, depth=0, cause=None, is_sent=False, reactions=()))
    )

    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("ORD-1: 1 event, at 2026-11-2")
    assert said[2].endswith("  order.placed.v1  not sent yet")


def test_what_each_service_did_is_said_in_a_line_with_how_often_it_failed_and_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    placed, short = envelope(1, "order.placed.v1", 0), envelope(2, "stock.ran_short.v1", 90)
    did = [
        reaction("analytics", "handled", after=0.0123),
        reaction("email", "handled", "MailRefused", "MailRefused", "TimeoutError", after=150),
        reaction("loyalty", "dead", "Impossible", after=3),
        reaction("inventory", "retrying", "DeadlockDetected", "DeadlockDetected", after=1.5),
        reaction("shipping", "discarded", "Impossible", after=7200),
        reaction("gifts", "waiting"),
        reaction("orders", "unseen"),
        reaction("late", "unknown"),
        reaction("mended", "sent again", "Impossible", after=3),
    ]

    print_timeline(
        told(
            Happening(envelope=placed, depth=0, cause=None, is_sent=True, reactions=did),
            Happening(envelope=short, depth=1, cause=placed, is_sent=True, reactions=did[:1]),
        )
    )

    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("ORD-1: 2 events in 90.0 s, from 2026-11-2")
    assert [line.strip() for line in rest[2:11]] == [
        "✓ analytics  handled 12 ms after",
        "✓ email      handled 2 min after, at attempt 4 (2 × MailRefused, 1 × TimeoutError)",
        "✗ loyalty    dead 3.0 s after: 1 × Impossible; Impossible it was",
        "↻ inventory  failed, comes again: 2 × DeadlockDetected; last 1.5 s after",
        "– shipping   discarded by a person, 2 h after (1 × Impossible)",
        "… gifts      waiting",
        "? orders     its database cannot be seen from here",
        "· late       unknown to it: it joined later, or has forgotten",
        "↻ mended     was dead, is sent again by a person: 1 × Impossible; died 3.0 s after",
    ]
    assert rest[12].endswith("  └─ stock.ran_short.v1  ← order.placed")
    assert rest[13].endswith("   ✓ analytics  handled 12 ms after")
