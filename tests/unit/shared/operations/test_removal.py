"""`shop remove` with the embedded broker and SQLite files."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from services.loyalty.service import loyalty
from shared.messaging.embedded.broker import EmbeddedBroker
from shared.testing import Stage
from tests.support.commanding import Shop
from tests.support.order_events import placed


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path, [loyalty])
    yield stage
    stage.close()


def mentions(home: Path, name: str) -> list[str]:
    """The tables of the broker's file that still name the queue or its dead queue."""
    columns = {"queues": "name", "bindings": "queue", "messages": "queue", "consumers": "queue"}
    with closing(sqlite3.connect(home / "broker.db")) as connection:
        return [
            table
            for table, column in columns.items()
            if connection.execute(
                f"SELECT 1 FROM {table} WHERE {column} IN (?, ?)",  # noqa: S608 - ours
                (name, f"{name}.dead"),
            ).fetchone()
        ]


def test_nothing_of_it_is_left_at_the_broker_and_its_data_stays(
    shop: Shop, stage: Stage, tmp_path: Path
) -> None:
    stage.publish(placed())
    stage.play()
    assert mentions(tmp_path, "loyalty") == ["queues", "bindings"]

    result = shop("remove", "loyalty", "--json")

    assert result.code == 0
    assert (
        result.json["done"][1]
        == f"database {tmp_path / 'loyalty.db'}: left; --drop-data removes it"
    )
    assert mentions(tmp_path, "loyalty") == []
    assert (tmp_path / "loyalty.db").exists()
    assert shop("remove", "loyalty").code == 0, "repeating it is safe"


def test_its_database_is_removed_if_that_is_asked_for(
    shop: Shop, stage: Stage, tmp_path: Path
) -> None:
    stage.close()

    assert shop("remove", "loyalty", "--drop-data").code == 0

    assert list(tmp_path.glob("loyalty.db*")) == []


def test_while_messages_wait_it_is_refused_unless_they_may_be_lost(
    shop: Shop, stage: Stage, tmp_path: Path
) -> None:
    stage.publish(placed())

    refused = shop("remove", "loyalty", "--drop-data")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == (
        "shop: 1 message in loyalty: nothing was removed; --discard-messages removes them too\n"
    )
    assert mentions(tmp_path, "loyalty") == ["queues", "bindings", "messages"]
    assert (tmp_path / "loyalty.db").exists()

    assert shop("remove", "loyalty", "--discard-messages").code == 0
    assert mentions(tmp_path, "loyalty") == []


def test_a_service_that_runs_is_not_removed(shop: Shop, stage: Stage, tmp_path: Path) -> None:
    stage.close()
    broker = EmbeddedBroker(tmp_path / "broker.db")
    consumer = broker.consumer("loyalty", prefetch=1)
    consumer.take(1, wait=0)

    result = shop("remove", "loyalty", "--discard-messages")
    broker.close()

    assert result.code == 1
    assert "loyalty is running: stop it first; nothing was removed" in result.err
    assert "queues" in mentions(tmp_path, "loyalty")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("orders", "orders publishes order.cancelled, order.placed, payment.received, on which"),
        ("No such", "cannot be the name of a service"),
        ("loyalty.dead", "cannot be the name of a service"),
    ],
)
def test_what_others_depend_on_and_what_is_no_service_is_refused(
    shop: Shop, name: str, sentence: str
) -> None:
    result = shop("remove", name)

    assert result.code == 2
    assert sentence in result.err
