"""`shop failures`: what failed and comes again, where it failed, and when the next attempt is."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from services.loyalty.store import LoyaltyStore
from shared.errors import NotKnownYet
from shared.testing import Stage
from shop import registry
from tests.support.commanding import Shop
from tests.support.order_events import cancelled, placed

MESSAGE = "ORD-1 of jane.canary@example.com"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Broker and databases of all services, set up and not running."""
    stage = Stage(tmp_path, registry.all_services())
    yield stage
    stage.close()


class Failing:
    """Makes loyalty fail with an error; None to make it work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: type[Exception] | None = KeyError
        monkeypatch.setattr(LoyaltyStore, "flush", self._flush)

    def _flush(self, *_: object) -> None:
        if self.error is not None:
            raise self.error(MESSAGE)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Failing:
    return Failing(monkeypatch)


def fail(stage: Stage, *, times: int = 1) -> None:
    for _ in range(times):
        stage.react("loyalty", errors="collect")
        stage.clock.now += 1000


def test_without_failures_the_list_is_empty(shop: Shop, stage: Stage) -> None:
    stage.publish(placed())
    stage.react("loyalty")

    assert shop("failures").out == "No event is being retried.\n"
    assert shop("failures", "loyalty", "--json").json == []


@pytest.mark.usefixtures("failing")
def test_an_event_that_is_retried_is_listed_with_its_line_and_its_next_attempt(
    shop: Shop, stage: Stage
) -> None:
    event = placed()
    stage.publish(event)
    fail(stage, times=3)

    [row] = shop("failures", "--json").json

    assert (row["service"], row["id"], row["subject"]) == (
        "loyalty",
        str(event.event_id),
        event.order_id,
    )
    assert (row["error"], row["attempts"], row["attempts_left"]) == ("KeyError", 3, 18)
    assert row["origin"].startswith("tests/unit/shared/operations/test_failure_commands.py:")
    assert "raise self.error" in row["traceback"]
    failed, following = (
        datetime.fromisoformat(row[key]) for key in ("failed_at", "next_attempt_at")
    )
    assert following - failed == timedelta(seconds=3)
    assert row["first_failed_at"] < row["failed_at"]
    shown = shop("failures").out
    assert "3 of 21" in shown
    assert f"shop failures loyalty --event {str(event.event_id)[-8:]}" in shown
    assert "canary" not in shown + shop("failures", "--json").out


def test_the_retry_settings_of_the_service_decide_when_the_next_attempt_is(
    shop: Shop, stage: Stage, failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert failing.error
    monkeypatch.setenv("SHOP_LOYALTY_RETRY_DELAY", "300")
    monkeypatch.setenv("SHOP_LOYALTY_RETRY_MAX_DELAY", "500")
    monkeypatch.setenv("SHOP_LOYALTY_MAX_RETRIES", "4")
    stage.publish(placed())
    fail(stage, times=2)

    [row] = shop("failures", "--json").json

    failed, following = (
        datetime.fromisoformat(row[key]) for key in ("failed_at", "next_attempt_at")
    )
    assert following - failed == timedelta(seconds=500)
    assert row["attempts_left"] == 3


@pytest.mark.usefixtures("failing")
def test_events_that_failed_at_the_same_line_are_listed_together_at_80_columns(
    shop: Shop, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [placed(f"ORD-{number}2345-67890") for number in range(3)]
    stage.publish(*events)
    fail(stage)
    monkeypatch.setenv("COLUMNS", "80")

    shown = shop("failures").out

    place = "loyalty: KeyError at tests/unit/shared/operations/test_failure_commands.py:"
    assert shown.count(place) == 1
    for event in events:
        [line] = [each for each in shown.splitlines() if event.order_id in each]
        assert line.split()[:2] == ["order.placed.v1", str(event.event_id)[-8:]]
        assert "1 of 21" in line


@pytest.mark.usefixtures("failing")
def test_a_time_that_has_passed_is_shown_as_due(shop: Shop, stage: Stage) -> None:
    stage.publish(placed())
    fail(stage)
    with stage.databases["loyalty"].begin() as connection:
        connection.exec_driver_sql("UPDATE failures SET failed_at = '2026-01-01T00:00:00+00:00'")

    assert "due for " in shop("failures").out


def test_a_look_creates_no_database(shop: Shop, tmp_path: Path) -> None:
    before = list(tmp_path.iterdir())

    result = shop("failures", "loyalty")

    assert result.code == 1
    assert "loyalty.db is not there" in result.err
    assert list(tmp_path.iterdir()) == before


def test_where_there_is_no_shop_that_is_said_once(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_HOME", str(tmp_path / "elsewhere"))

    listed, looked_up = shop("failures"), shop("failures", "--event", "00000000")

    for result in (listed, looked_up):
        assert (result.code, result.out) == (1, "")
        assert result.err.startswith(f"shop: there is no shop in {tmp_path}/elsewhere")
        assert result.err.count("\n") == 1


def test_an_event_that_was_handled_after_all_is_not_listed(
    shop: Shop, stage: Stage, failing: Failing
) -> None:
    event = placed()
    stage.publish(event)
    fail(stage)
    failing.error = None
    fail(stage)

    assert shop("failures", "--json").json == []
    [details] = shop("failures", "--event", str(event.event_id), "--json").json
    assert (details["state"], details["next_attempt_at"]) == ("handled", None)
    assert len(details["attempts"]) == 1


@pytest.mark.usefixtures("failing")
def test_a_dead_event_is_not_listed_and_its_attempts_can_be_shown(shop: Shop, stage: Stage) -> None:
    event = placed()
    stage.publish(event)
    fail(stage, times=21)

    assert shop("failures", "--json").json == []
    [details] = shop("failures", "loyalty", "--event", str(event.event_id)[-8:], "--json").json
    assert (details["state"], len(details["attempts"])) == ("dead", 21)


@pytest.mark.usefixtures("failing")
def test_a_redriven_event_that_fails_again_counts_from_one(shop: Shop, stage: Stage) -> None:
    stage.publish(placed())
    fail(stage, times=21)
    shop("dead", "retry", "loyalty", "--all")
    assert shop("failures", "--json").json == []
    fail(stage)

    [row] = shop("failures", "--json").json

    assert (row["attempts"], row["attempts_left"]) == (1, 20)
    assert row["first_failed_at"] == row["failed_at"]


def test_equal_stacks_are_shown_once_with_their_attempts(
    shop: Shop, stage: Stage, failing: Failing
) -> None:
    event = placed()
    stage.publish(event)
    fail(stage, times=3)
    failing.error = NotKnownYet
    fail(stage)
    failing.error = KeyError
    fail(stage, times=2)

    shown = shop("failures", "--event", str(event.event_id)).out

    assert "attempts 1-3, 5-6: KeyError" in shown
    assert "attempt 4: NotKnownYet" in shown
    assert shown.count("raise self.error") == 2
    assert "ORD-1 of jane" in shown
    assert "withheld" not in shown


@pytest.mark.usefixtures("failing")
def test_dead_show_has_equal_stacks_once(shop: Shop, stage: Stage) -> None:
    event = placed()
    stage.publish(event)
    fail(stage, times=21)
    shop("dead", "retry", "loyalty", "--all")
    fail(stage, times=21)

    shown = shop("dead", "show", "loyalty", str(event.event_id), "--trace").out

    assert shown.count("raise self.error") == 1
    assert "attempts 1-21; replay 1, attempts 1-21: KeyError" in shown
    assert "at tests/unit/shared/operations/test_failure_commands.py:" in shown


@pytest.mark.usefixtures("failing")
def test_an_unknown_or_ambiguous_event_is_invalid_input(shop: Shop, stage: Stage) -> None:
    stage.publish(placed(), cancelled())
    fail(stage)
    with stage.databases["loyalty"].begin() as connection:
        connection.exec_driver_sql("UPDATE failures SET event_id = number || 'abcdef'")

    unknown, ambiguous = (shop("failures", "--event", each) for each in ("fedcba", "abcdef"))

    assert (unknown.code, ambiguous.code) == (2, 2)
    assert "no failed attempt of an event 'fedcba' is recorded in any service" in unknown.err
    assert "several failed events of loyalty end in 'abcdef'" in ambiguous.err
    assert shop("failures", "--event", "1abcdef").code == 0
    assert shop("failures", "--event", "f").code == 2


@pytest.mark.usefixtures("failing")
def test_a_database_that_cannot_be_read_hides_no_other(
    shop: Shop, stage: Stage, tmp_path: Path
) -> None:
    stage.publish(placed())
    fail(stage)
    for path in tmp_path.glob("inventory.db*"):
        path.unlink()
    (tmp_path / "inventory.db").write_text("not a database, and long enough to be recognised so")

    result = shop("failures", "--json")

    assert result.code == 1
    assert [each["service"] for each in result.json] == ["loyalty"]
    assert "inventory is not in this list" in result.err
