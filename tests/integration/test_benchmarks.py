"""Benchmarks at a small scale: their work is done and verified; their times are not tested."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import docker
import psycopg
import pytest

from benchmarks import (
    embedded,
    growth,
    latency,
    memory,
    react,
    relay,
    report,
    scale,
    startup,
    sustained,
    whole_shop,
)
from benchmarks.__main__ import INTERRUPTED
from benchmarks.comparison import Bench, MeasurementFailed
from benchmarks.processes import wait_for
from benchmarks.result import Spread, read
from benchmarks.sample_orders import Orders
from benchmarks.servers import LABEL, Servers
from tests.containers import RabbitServer

ROOT = Path(__file__).parents[2]
SHAPE = {
    "name",
    "ours",
    "peers",
    "limit",
    "ratio_to_best_peer",
    "ratio_to_limit",
    "figures",
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
    output: list[str] = []
    yield Bench(rounds=1, scale=0.001, results=tmp_path, progress=output.append)
    assert output, "progress is reported"


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


def test_relay_measures_events_that_have_arrived(
    bench: Bench, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PUBLISHERS", relay.PUBLISHERS[:1])

    relay.measure(bench, servers)

    result = read(bench.results / "relay.json")
    assert result.ours.median > 0
    assert isinstance(result.peers["pika, blocking"], Spread)
    limit = result.limit["rabbitmq-c, window 500"]
    assert isinstance(limit, Spread) or limit.missing.startswith("not built: ")


def test_latency_includes_all_five_reactions(bench: Bench, servers: Servers) -> None:
    latency.measure(bench, servers)

    result = read(bench.results / "latency.json")
    assert set(result.figures) == {"p50", "p99", "p50 to the commit", "p99 to the commit"}
    assert 0 < result.ours.median <= result.figures["p99"].median
    assert result.ours.median <= result.figures["p50 to the commit"].median


def test_sustained_counts_finished_orders(
    bench: Bench, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sustained, "RATES", (5.0,))

    sustained.measure(bench, servers)

    result = read(bench.results / "sustained.json")
    assert {"of 5/s", "rate that held", "growth"} <= set(result.figures)
    assert result.ours == result.figures["of 5/s"]
    assert not result.met, "5 orders per second are below the target"


def test_an_order_is_traced_from_its_commit_to_its_last_reaction(servers: Servers) -> None:
    with whole_shop.running_shop(servers) as shop:
        shop.place_orders(rate=10, seconds=1)
        assert shop.wait_until_handled(seconds=60)
        shop.verify()
        traces = shop.traces()
        with psycopg.connect(shop.workspace.databases["email"]) as connection:
            connection.execute("DELETE FROM sent_mails WHERE kind = 'shipping'")

        with pytest.raises(
            MeasurementFailed, match="of 10 orders 10 were shipped, 10 mails were sent"
        ):
            shop.verify()

    assert len(traces) == 10
    for each in traces:
        assert (
            len(each.placed_handled_at),
            len(each.placed_committed_at),
            len(each.handled_at),
        ) == (5, 5, 13)
        assert each.placed_at < min(each.placed_handled_at)


def test_growth_compares_much_data_with_little(bench: Bench, servers: Servers) -> None:
    growth.measure(bench, servers)

    figures = read(bench.results / "growth.json").figures
    for name in growth.PAIRS:
        much, little = (figures[f"{name}, {each}"].median for each in ("much", "little"))
        speeds = (little, much) if name == "pruning" else (much, little)
        assert figures[name].median == pytest.approx(speeds[0] / speeds[1], rel=0.01)
    assert figures["pruning, speed"].median > 0, "all old rows are gone"


def test_two_processes_share_the_work_and_do_it_once(bench: Bench, servers: Servers) -> None:
    scale.measure(bench, servers)

    figures = read(bench.results / "scale.json").figures
    for name in (scale.MANY_PRODUCTS, scale.FEW_PRODUCTS):
        one, two = (figures[f"{name}, {each}"].median for each in ("one process", "two processes"))
        assert figures[name].median == pytest.approx(two / one, rel=0.01)


def test_memory_is_that_of_the_service_process(servers: Servers) -> None:
    assert 20 < memory.at_rest(servers) < 500
    assert 0 < memory.growth(servers, Orders(200)) < 500


def test_startup_times_commands_that_succeed(bench: Bench, servers: Servers) -> None:
    startup.measure(bench, servers)

    for name in ("startup", "startup-place"):
        assert read(bench.results / f"{name}.json").ratio_to_limit


def test_the_embedded_shop_does_all_the_measured_work(bench: Bench, servers: Servers) -> None:
    embedded.measure(bench, servers)

    assert read(bench.results / "embedded.json").ours.median > 0
    assert read(bench.results / "embedded-analytics.json").ours.median > 0


@pytest.mark.parametrize("is_half_way", [False, True], ids=["at its start", "half-way"])
def test_an_interruption_keeps_the_results_and_leaves_nothing_running(
    rabbitmq_server: RabbitServer,
    tmp_path: Path,
    is_half_way: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    del rabbitmq_server  # it ensures that there is a Docker engine
    mark = f"BENCH_TEST={tmp_path}"
    command = [sys.executable, "-m", "benchmarks", "startup", "latency", "--rounds", "1"]
    program = subprocess.Popen(
        [*command, "--scale", "0.1", "--results", str(tmp_path)],
        env=os.environ | dict([mark.split("=", 1)]),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
    )
    with closing(docker.from_env()) as client, program:

        def containers() -> int:
            of_it: dict[str, Any] = {"label": f"{LABEL}={program.pid}"}
            return len(client.containers.list(all=True, filters=of_it, ignore_removed=True))

        def is_in_progress() -> bool:
            return "order_load" in _marked(mark) if is_half_way else containers() > 0

        try:
            wait_for(is_in_progress, seconds=120, what="the benchmark is in progress")
            program.send_signal(signal.SIGINT)
            _, output = program.communicate(timeout=60)
        finally:
            program.kill()

        assert program.returncode == INTERRUPTED
        assert output.decode().endswith("nothing is left running\n")
        assert containers() == 0
    assert _marked(mark) == ""
    assert (tmp_path / "startup.json").exists() == is_half_way
    assert ("| startup |" in _table(tmp_path)) == is_half_way
    assert not (tmp_path / "latency.json").exists()


def _marked(mark: str) -> str:
    """The command lines of all processes with this environment variable."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or belongs to another user
            if mark.encode() in (each / "environ").read_bytes().split(b"\0"):
                found.append((each / "cmdline").read_text())
    return "\n".join(found)


def _table(folder: Path) -> str:
    path = folder / "table.md"
    return path.read_text() if path.exists() else ""


def test_an_effect_that_is_applied_twice_is_no_result(servers: Servers) -> None:
    orders = Orders(20)
    with servers.shop("inventory") as workspace:
        url = workspace.databases["inventory"]
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

        with pytest.raises(MeasurementFailed, match="once"):
            react.verify(url, orders)
