"""Benchmarks in small: what they measure is done, and checked. Times mean nothing here."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from benchmarks import react, report
from benchmarks.comparing import Bench, WentWrong
from benchmarks.figures import Spread, read
from benchmarks.sample import Orders
from benchmarks.servers import Servers
from tests.containers import RabbitServer

SHAPE = {
    "name",
    "ours",
    "peers",
    "limit",
    "ratio_to_best_peer",
    "ratio_to_limit",
    "target",
    "met",
}


@pytest.fixture
def servers(rabbitmq_server: RabbitServer, postgres_server: str) -> Servers:
    return Servers(
        amqp=rabbitmq_server.amqp_url("").rstrip("/"),
        admin_url=rabbitmq_server.admin_url,
        postgres=postgres_server.rpartition("/")[0],
    )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    said: list[str] = []
    yield Bench(rounds=1, scale=0.001, results=tmp_path, say=said.append)
    assert said, "there must be progress"


def test_react_measures_ours_a_peer_and_the_limit(bench: Bench, servers: Servers) -> None:
    react.measure(bench, servers)

    result = read(bench.results / "react.json")
    assert set(json.loads((bench.results / "react.json").read_text())) == SHAPE
    assert result.ours.median > 0
    assert isinstance(result.peers["pika + psycopg"], Spread)
    assert isinstance(result.limit["batches by hand"], Spread)
    assert set(result.peers) == {"FastStream", "Celery", "Dramatiq", "pika + psycopg"}
    report.write(bench.results, {"machine": "a test's"})
    assert "| react |" in (bench.results / "table.md").read_text()
    assert "<svg" in (bench.results / "figures.svg").read_text()


def test_an_effect_done_twice_is_no_result(servers: Servers) -> None:
    orders = Orders(20)
    with servers.shop("inventory") as place:
        url = place.databases["inventory"]
        event = orders.events[0]
        with psycopg.connect(url) as connection:
            connection.execute(
                "INSERT INTO inbox (event_id, event_type, outcome, occurred_at) "
                "VALUES (%s, %s, 'handled', now())",
                [event.event_id, event.type],
            )
            connection.cursor().executemany(
                "INSERT INTO products (sku, available, reserved) VALUES (%s, 10000000 - %s, %s)",
                [(sku, 2 * pieces, 2 * pieces) for sku, pieces in event.items.items()],
            )

        with pytest.raises(WentWrong, match="once"):
            react.verify(url, orders)
