"""What `shop doctor` finds, and says to do, on the embedded broker."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from shared.messaging.ports.publisher import Message
from shared.runtime.relay import send_some
from shared.storage.outbox import Outgoing, write
from shared.storage.tables import outbox
from shared.testing import Stage
from shop import registry
from tests.support.commanding import Shop
from tests.support.order_events import placed


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Everything set up, nothing running; email has no server, as it is asked for nothing."""
    stage = Stage(tmp_path, registry.all_services())
    yield stage
    stage.close()


def wrong(shop: Shop) -> dict[str, str]:
    """What the doctor finds wrong; its exit code says whether that is anything."""
    said = shop("doctor", "--json")
    found = {each["what"]: each["says"] for each in said.json if not each["ok"]}
    assert said.code == (1 if found else 0)
    return found


def die_in_loyalty(stage: Stage) -> None:
    message = Message(
        event_id="note-1",
        topic="order.placed",
        type="order.placed.v1",
        body=b"{",
        source="somebody",
        only_to="loyalty",
    )
    assert stage.broker.publisher().publish([message]) == [None]
    stage.react("loyalty")


def commit(stage: Stage, **differing: Any) -> str:
    """An event in the outbox of orders; answers its id."""
    event = placed()
    with stage.databases["orders"].begin() as connection:
        write(connection, [Outgoing(event, b"{}")])
        if differing:
            connection.execute(update(outbox).values(**differing))
    return str(event.event_id)


@pytest.mark.usefixtures("stage")
def test_a_stopped_system_without_work_is_well(shop: Shop) -> None:
    assert wrong(shop) == {}
    assert "0 ready, 0 consumers" in shop("doctor").out


def test_a_queue_in_which_events_wait_for_nobody_is_told(shop: Shop, stage: Stage) -> None:
    stage.publish(placed())

    assert wrong(shop)["queue of email"] == (
        "nobody takes its events, 1 wait; start it: shop run email"
    )


def test_dead_letters_that_grow_are_told(shop: Shop, stage: Stage) -> None:
    die_in_loyalty(stage)
    says = [each["says"] for each in shop("doctor", "--json").json if not each["ok"]]
    assert says == [
        "1; see what they died of, and retry or discard: shop dead list loyalty",
        "they grow: 1 died within the last 10 minutes",
    ]

    with stage.databases["loyalty"].begin() as connection:
        long_ago = datetime.now(UTC) - timedelta(minutes=11)
        connection.exec_driver_sql("UPDATE failures SET failed_at = ?", (long_ago.isoformat(),))

    assert wrong(shop)["dead letters of loyalty"].startswith("1; see what")


def test_an_event_that_is_long_not_sent_is_told(shop: Shop, stage: Stage) -> None:
    commit(stage)
    assert wrong(shop) == {}

    commit(stage, created_at=datetime.now(UTC) - timedelta(seconds=95))

    says = wrong(shop)["outbox of orders"]
    assert "2 events are not sent, the oldest since 95 s" in says or "since 96 s" in says
    assert "does orders run" in says


def test_what_was_set_aside_is_told_and_can_be_sent_after_all(shop: Shop, stage: Stage) -> None:
    event_id = commit(stage, refused="no permission")

    says = wrong(shop)["outbox of orders"]
    assert f"order.placed.v1 {event_id} (no permission)" in says
    assert "shop outbox resend orders" in says
    assert shop("outbox", "resend", "orders").out == "1 events will be sent by orders again\n"

    assert wrong(shop) == {}
    claimed = send_some(stage.databases["orders"], stage.broker.publisher(), source="orders")
    assert len(claimed.sent) == 1
    assert shop("outbox", "resend", "orders").out.startswith("0 ")


def test_a_missing_binding_is_told(shop: Shop, stage: Stage) -> None:
    with sqlite3.connect(stage.broker._file.path) as connection:
        connection.execute("DELETE FROM bindings WHERE queue = 'email' AND pattern LIKE '%shipped'")
    connection.close()

    assert wrong(shop)["topology"] == (
        "email is not bound to order.shipped; to make it right: shop setup"
    )


def test_a_database_that_is_behind_is_told(shop: Shop, stage: Stage) -> None:
    with stage.databases["email"].begin() as connection:
        connection.exec_driver_sql("UPDATE runtime_version SET version_num = '0001'")

    assert wrong(shop)["database of email"] == "not migrated: run shop setup"


@pytest.mark.usefixtures("stage")
def test_while_the_broker_is_away_the_rest_is_looked_at(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_BROKER_URL", "amqp://guest:guest@127.0.0.1:1/")

    found = {each["what"]: each for each in shop("doctor", "--json").json}

    assert "refused" in found["broker"]["says"]
    assert found["database of orders"]["ok"]
    assert "queue of orders" not in found


@pytest.mark.usefixtures("stage")
def test_in_a_services_container_the_others_are_named_and_not_wrong(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "keys" / "email").mkdir(parents=True)
    monkeypatch.setenv("SHOP_KEYS", str(tmp_path / "keys"))

    said = shop("doctor", "--json")

    assert said.code == 0
    assert {each["what"] for each in said.json} == {
        "broker",
        "queue of email",
        "dead letters of email",
        "database of email",
        "outbox of email",
        "email's gateway",
    }
    assert "not visible from here: orders, analytics" in said.err
