"""What `shop doctor` finds on the embedded broker, and what it says to do."""

import re
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from services.loyalty.store import LoyaltyStore
from shared.messaging.codec import message_of
from shared.messaging.ports.publisher import Message
from shared.operations import doctor
from shared.runtime.relay import send_some
from shared.storage import service_state
from shared.storage.outbox import Outgoing, write
from shared.storage.tables import outbox
from shared.storage.tables import service_state as service_state_table
from shared.testing import Stage
from shop import registry
from tests.support.commanding import Shop
from tests.support.order_events import placed


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Broker and databases of all services, set up and not running."""
    stage = Stage(tmp_path, registry.all_services())
    yield stage
    stage.close()


def wrong(shop: Shop) -> dict[str, str]:
    """The findings that are not well; checks that the exit code says whether there are any.

    Without the seconds that a new event has waited, which depend on the machine.
    """
    result = shop("doctor", "--json")
    said = {each["what"]: each["says"] for each in result.json if not each["ok"]}
    age = re.compile(r"(ready|failing), the oldest for \d+ s")
    findings = {what: age.sub(r"\1", says) for what, says in said.items()}
    assert result.code == (1 if findings else 0)
    return findings


def dead_letter_in_loyalty(stage: Stage) -> None:
    message = Message(
        event_id="note-1",
        topic="order.placed",
        type="order.placed.v1",
        body=b"{",
        source="unknown",
        only_to="loyalty",
    )
    assert stage.broker.publisher().publish([message]) == [None]
    stage.react("loyalty", errors="collect")


def write_to_outbox(stage: Stage, **changes: Any) -> str:
    """Write an event to the outbox of orders and return its id."""
    event = placed()
    with stage.databases["orders"].begin() as connection:
        write(connection, [Outgoing(event, b"{}")])
        if changes:
            connection.execute(update(outbox).values(**changes))
    return str(event.event_id)


@pytest.mark.usefixtures("stage")
def test_a_stopped_system_without_messages_is_well(shop: Shop) -> None:
    assert wrong(shop) == {}
    assert "0 ready, 0 consumers" in shop("doctor").out


def test_a_queue_with_events_and_no_consumer_is_reported(shop: Shop, stage: Stage) -> None:
    stage.publish(placed())

    assert wrong(shop)["queue of email"] == (
        "1 ready and no consumer: start the service with shop run email"
    )


def test_a_growing_number_of_dead_letters_is_reported(shop: Shop, stage: Stage) -> None:
    dead_letter_in_loyalty(stage)
    says = [each["says"] for each in shop("doctor", "--json").json if not each["ok"]]
    assert says == [
        "1 dead: see why with shop dead list loyalty, then retry or discard them",
        "their number grows, 1 died in the last 10 minutes: mend the cause before you retry them",
    ]

    with stage.databases["loyalty"].begin() as connection:
        long_ago = datetime.now(UTC) - timedelta(minutes=11)
        connection.exec_driver_sql("UPDATE failures SET failed_at = ?", (long_ago.isoformat(),))

    assert wrong(shop)["dead letters of loyalty"].startswith("1 dead: see why")


def forged_letter_in_loyalty(stage: Stage) -> None:
    message = replace(message_of(placed(), source="orders"), topic="order.cancelled")
    assert stage.broker.publisher().publish([message]) == [None]
    stage.react("loyalty", errors="collect")


def test_forged_dead_letters_are_reported_until_they_are_discarded(
    shop: Shop, stage: Stage
) -> None:
    dead_letter_in_loyalty(stage)
    forged_letter_in_loyalty(stage)

    says = [each["says"] for each in shop("doctor", "--json").json if not each["ok"]]

    [forged] = [each for each in says if "forged" in each]
    assert forged == (
        "1 forged: order.placed.v1 with source /orders, routing key order.cancelled and broker "
        "user none: its routing key is not the topic of its type. Find out who published them, "
        "then discard each: shop dead list loyalty"
    )
    letters = shop("dead", "list", "--json").json
    [letter] = [each for each in letters if each["error"] == "ForgedEvent"]
    discard = "dead", "discard", "loyalty", letter["example"], "--reason", "not ours"
    assert shop(*discard).code == 0
    assert "1 forged" not in shop("doctor").out


def test_an_event_that_has_not_been_sent_for_a_minute_is_reported(shop: Shop, stage: Stage) -> None:
    write_to_outbox(stage)
    assert wrong(shop) == {}

    write_to_outbox(stage, created_at=datetime.now(UTC) - timedelta(seconds=95))

    says = wrong(shop)["outbox of orders"]
    assert "2 events not sent, the oldest for 95 s" in says or "for 96 s" in says
    assert "check that orders runs" in says


def test_a_rejected_event_is_reported_and_can_be_sent_again(shop: Shop, stage: Stage) -> None:
    event_id = write_to_outbox(stage, rejected="no permission")

    says = wrong(shop)["outbox of orders"]
    assert f"order.placed.v1 {event_id} (no permission)" in says
    assert "shop outbox resend orders" in says
    assert shop("outbox", "resend", "orders").out == "orders will send 1 event again\n"

    assert wrong(shop) == {}
    claimed = send_some(stage.databases["orders"], stage.broker.publisher(), source="orders")
    assert len(claimed.sent) == 1
    assert shop("outbox", "resend", "orders").out == "orders will send 0 events again\n"


def test_a_missing_binding_is_reported(shop: Shop, stage: Stage) -> None:
    with sqlite3.connect(stage.broker._file.path) as connection:
        connection.execute("DELETE FROM bindings WHERE queue = 'email' AND pattern LIKE '%shipped'")
    connection.close()

    assert wrong(shop)["topology"] == ("email is not bound to order.shipped: run shop setup")


def test_a_database_without_the_newest_migration_is_reported(shop: Shop, stage: Stage) -> None:
    with stage.databases["email"].begin() as connection:
        connection.exec_driver_sql("UPDATE runtime_version SET version_num = '0001'")

    assert wrong(shop)["database of email"] == "not migrated to this version: run shop setup"


def test_an_older_database_is_reported_and_not_migrated(shop: Shop, stage: Stage) -> None:
    dead_letter_in_loyalty(stage)
    stage.publish(placed())
    with stage.databases["loyalty"].begin() as connection:
        connection.exec_driver_sql("DROP TABLE service_state")
        connection.exec_driver_sql("UPDATE runtime_version SET version_num = '0005'")

    findings = wrong(shop)

    assert findings["database of loyalty"] == "not migrated to this version: run shop setup"
    assert "1 ready and no consumer" in findings["queue of loyalty"]
    assert findings["dead letters of loyalty"].startswith("1 dead")
    with stage.databases["loyalty"].read() as connection:
        version = connection.exec_driver_sql("SELECT version_num FROM runtime_version").scalar()
    assert version == "0005"


@pytest.mark.usefixtures("stage")
def test_a_disk_that_is_nearly_full_is_reported(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nearly_full(_path: Path) -> Any:
        return shutil._ntuple_diskusage(total=10**9, used=10**9 - 99_000_000, free=99_000_000)

    monkeypatch.setattr("shutil.disk_usage", nearly_full)

    assert wrong(shop) == {
        "broker's resources": f"the disk of {tmp_path / 'broker.db'} has 99 MB left: "
        "free space on it"
    }


@pytest.mark.usefixtures("stage")
def test_without_the_broker_the_databases_are_still_checked(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_BROKER_URL", "amqp://guest:guest@127.0.0.1:1/")

    findings = {each["what"]: each for each in shop("doctor", "--json").json}

    assert "refused" in findings["broker"]["says"]
    assert findings["broker"]["says"].endswith("; see whether it runs, and SHOP_BROKER_URL")
    assert findings["database of orders"]["ok"]
    assert "queue of orders" not in findings


@pytest.mark.usefixtures("stage")
def test_in_a_services_container_the_other_services_are_named_and_not_reported(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "keys" / "email").mkdir(parents=True)
    monkeypatch.setenv("SHOP_KEYS", str(tmp_path / "keys"))

    result = shop("doctor", "--json")

    assert result.code == 0
    assert {each["what"] for each in result.json} == {
        "broker",
        "queue of email",
        "dead letters of email",
        "database of email",
        "failures of email",
        "outbox of email",
        "email's gateway",
    }
    assert "not visible from here: orders, analytics" in result.err


class ClockOf:
    """A broker with this difference of clocks."""

    def __init__(self, difference: float | None) -> None:
        self._difference = difference

    def clock_difference(self) -> float | None:
        return self._difference


@pytest.mark.parametrize(
    ("broker", "databases", "expected"),
    [
        (None, {}, []),
        (None, {"the database server one": 0.0}, ["as this machine's, within 1 s: the database"]),
        (3.2, {"the database server one": 0.0}, ["the broker is at least 3.2 s ahead of this"]),
        (0.0, {"the database server one": -9.0}, ["server one is at least 9.0 s behind this"]),
    ],
    ids=["one machine", "the broker not asked", "the broker ahead", "a database behind"],
)
def test_the_clocks_of_the_servers_are_compared(
    broker: float | None,
    databases: dict[str, float | None],
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "_database_clocks", lambda _visible: databases)
    clock: Any = ClockOf(broker)

    found = list(doctor._clocks([], clock, "clocks"))

    assert [part in each.message for part, each in zip(expected, found, strict=True)] == [
        True for _ in expected
    ]
    assert all(each.is_wrong != ("within" in each.message) for each in found)


@pytest.mark.usefixtures("stage")
def test_on_one_machine_nothing_is_said_of_clocks(shop: Shop) -> None:
    assert "clocks" not in {each["what"] for each in shop("doctor", "--json").json}


def test_events_that_fail_and_come_again_are_reported(
    shop: Shop, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_store: object) -> None:
        raise KeyError

    monkeypatch.setattr(LoyaltyStore, "flush", fail)
    monkeypatch.setenv("SHOP_LOYALTY_RETRY_DELAY", "499")
    monkeypatch.setenv("SHOP_LOYALTY_RETRY_MAX_DELAY", "499")
    stage.publish(placed("ORD-1"), placed("ORD-2"))
    stage.react("loyalty", errors="collect")

    says = wrong(shop)["failures of loyalty"]

    assert re.fullmatch(
        r"2 failing, next attempt in 4\d\d s: "
        "see why with shop failures loyalty",
        says,
    )


def test_a_model_with_a_column_more_than_the_table_is_reported(shop: Shop, stage: Stage) -> None:
    with stage.databases["loyalty"].begin() as connection:
        connection.exec_driver_sql("ALTER TABLE awards DROP COLUMN points")

    says = wrong(shop)["database of loyalty"]

    assert says.startswith("the table awards lacks the column points, although all migrations")
    assert "services/loyalty/migrations" in says


def test_a_table_that_is_missing_is_reported(shop: Shop, stage: Stage) -> None:
    with stage.databases["orders"].begin() as connection:
        connection.exec_driver_sql("DROP TABLE discards")

    assert "the table discards is missing" in wrong(shop)["database of orders"]


def test_the_oldest_event_that_waits_is_reported_with_its_age(shop: Shop, stage: Stage) -> None:
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1, minutes=2)
    stage.publish(placed().model_copy(update={"occurred_at": an_hour_ago}), placed("ORD-2"))

    [finding] = [
        each for each in shop("doctor", "--json").json if each["what"] == "queue of loyalty"
    ]

    assert finding["says"].startswith("2 ready, the oldest for 62 min and no consumer")
    assert 3720 <= finding["behind_seconds"] < 3780
    [first, second] = stage.react("loyalty")
    assert (first.delivery.attempt, second.delivery.attempt) == (1, 1)


def test_a_service_that_runs_and_is_behind_is_reported(shop: Shop, stage: Stage) -> None:
    consumer = stage.broker.consumer("email", prefetch=1)
    assert consumer.take(1, wait=0) == []
    two_minutes_ago = datetime.now(UTC) - timedelta(minutes=2, seconds=5)
    stage.publish(placed().model_copy(update={"occurred_at": two_minutes_ago}))

    says = wrong(shop)["queue of email"]

    assert says.startswith("1 ready, the oldest for 2 min, 1 consumer: it is behind")


def pause(stage: Stage, **seconds: float) -> None:
    """Let email have paused these seconds ago; `seen` is when a process last waited."""
    with stage.databases["email"].begin() as connection:
        service_state.note_gateway(connection, stage.databases["email"], "the mail server m:25")
        service_state.note_pause(connection, stage.databases["email"], "the mail server is away")
        now = datetime.now(UTC)
        connection.execute(
            update(service_state_table).values(
                paused_since=now - timedelta(seconds=seconds["since"]),
                seen_at=now - timedelta(seconds=seconds["seen"]),
            )
        )


def test_a_service_that_waits_on_purpose_is_reported_as_paused(shop: Shop, stage: Stage) -> None:
    stage.publish(placed(), placed("ORD-2"))
    pause(stage, since=200, seen=10)

    says = wrong(shop)["queue of email"]

    assert says.startswith("paused since 20")
    assert "(3 min): the mail server is away. 2 ready" in says
    assert says.endswith("email runs, and continues by itself when that is mended")
    assert "shop run" not in says


def test_a_pause_whose_process_has_ended_asks_to_start_it(shop: Shop, stage: Stage) -> None:
    stage.publish(placed())
    pause(stage, since=7300, seen=200)

    says = wrong(shop)["queue of email"]

    assert says.startswith("1 ready")
    assert "(2 h) (the mail server is away), and its process has ended" in says
    assert says.endswith("start it with shop run email")


def test_a_gateway_of_other_settings_is_not_called_well(shop: Shop, stage: Stage) -> None:
    stage.publish(placed())
    pause(stage, since=1, seen=1)

    [gateway] = [each for each in shop("doctor", "--json").json if each["what"].endswith("gateway")]

    assert (gateway["state"], gateway["ok"]) == ("unknown", True)
    assert gateway["says"].startswith("email uses the mail server m:25, and the settings of this")
    assert "Not known from here: email's gateway." in shop("doctor").out


@pytest.mark.usefixtures("stage")
def test_a_gateway_of_the_same_settings_is_probed(shop: Shop, tmp_path: Path) -> None:
    findings = {each["what"]: each["says"] for each in shop("doctor", "--json").json}

    assert findings["email's gateway"] == f"the folder {tmp_path}/mail answers"


def test_what_is_wrong_comes_first_and_a_last_line_sums_up(shop: Shop, stage: Stage) -> None:
    well = shop("doctor").out
    stage.publish(placed())

    lines = [line for line in shop("doctor").out.splitlines() if line.strip()]

    assert well.splitlines()[-1].startswith("All is well: ")
    marks = [line.split()[0] for line in lines if line.split()[0] in "✗?✓"]
    assert marks[:5] == ["✗"] * 5
    assert "✗" not in marks[5:]
    assert lines[-1].startswith("5 problems: queue of analytics, queue of email, ")


@pytest.mark.usefixtures("stage")
def test_what_is_wrong_is_red(shop: Shop, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.publish(placed())
    monkeypatch.setenv("FORCE_COLOR", "1")

    [first, *_] = [line for line in shop("doctor").out.splitlines() if "✗" in line]

    assert "\x1b[31m" in first


@pytest.mark.usefixtures("stage")
def test_a_mail_server_that_is_away_comes_with_what_to_do(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_SMTP_URL", "smtp://127.0.0.1:1")

    says = wrong(shop)["email's gateway"]

    assert says.startswith("the mail server 127.0.0.1:1 cannot be reached")
    assert says.endswith("; see whether it runs, and the settings of email")
