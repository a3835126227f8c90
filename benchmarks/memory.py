"""The memory of a consumer when idle, and its growth while it handles a backlog.

Both are the resident memory of the inventory service's process, as Linux counts it.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.backlog import publish_backlog
from benchmarks.comparison import Bench, Comparison, Contestant, Role, Unavailable
from benchmarks.processes import (
    ChildProcess,
    clean_environment,
    running_process,
    shop_command,
    wait_for,
)
from benchmarks.react import handled_in, stock
from benchmarks.result import Target
from benchmarks.sample_orders import Orders
from benchmarks.servers import Servers, Workspace
from shared.messaging.connect import broker_at

BACKLOG = 500_000
MAX_SECONDS = 60.0
"""Seconds under the backlog, enough to see memory that grows without limit."""
_TIMEOUT = 60.0

REST = Target("≤ 80 MB", lambda result: result.ours.median <= 80)
GROWTH = Target("≤ 40 MB", lambda result: result.ours.median <= 40)


def measure(bench: Bench, servers: Servers) -> None:
    """Measure an idle consumer, then one with a backlog."""
    orders = Orders(bench.size(BACKLOG, least=200))
    for name, target, contestant, rounds in (
        ("memory", REST, partial(at_rest, servers), None),
        ("memory-growth", GROWTH, partial(growth, servers, orders), 1),
    ):
        bench.compare(
            Comparison(
                name=name,
                unit="MB",
                target=target,
                contestants=[Contestant("inventory", Role.OURS, contestant)],
                less_is_better=True,
                rounds=rounds,
            )
        )


def at_rest(servers: Servers) -> float:
    """Megabytes of an idle consumer."""
    with servers.shop("inventory") as workspace:
        command = shop_command("run", "inventory")
        with running_process(command, clean_environment(**workspace.environment)) as (child, check):
            _until_consuming(workspace, check)
            return _megabytes(child, "VmRSS")


def growth(servers: Servers, orders: Orders) -> float:
    """Megabytes that its memory grows at most while it handles the backlog."""
    with servers.shop("inventory") as workspace:
        url = workspace.databases["inventory"]
        stock(url, orders)
        command = shop_command("run", "inventory")
        with (
            running_process(command, clean_environment(**workspace.environment)) as (child, check),
            psycopg.connect(url, autocommit=True) as connection,
        ):
            _until_consuming(workspace, check)
            rest = _megabytes(child, "VmRSS")
            publish_backlog(workspace.amqp_url, orders, "inventory")

            def enough() -> bool:
                done, seconds = handled_in(connection)
                return done >= orders.number or seconds > MAX_SECONDS

            wait_for(enough, seconds=2 * MAX_SECONDS + _TIMEOUT, what="the backlog", check=check)
            return max(0.0, _megabytes(child, "VmHWM") - rest)


def _until_consuming(workspace: Workspace, check: Callable[[], None]) -> None:
    def is_consuming() -> bool:
        broker = broker_at(workspace.amqp_url)
        try:
            return broker.depth("inventory").consumers > 0
        finally:
            broker.close()

    wait_for(is_consuming, seconds=_TIMEOUT, what="the service consumes", check=check, every=0.5)


def _megabytes(child: ChildProcess, field: str) -> float:
    """A process's memory in megabytes: VmRSS is the current value, VmHWM the maximum."""
    status = Path(f"/proc/{child.pid}/status")
    if not status.exists():
        raise Unavailable("memory is read from /proc, which this system does not have")
    found = re.search(rf"{field}:\s+(\d+) kB", status.read_text())
    if found is None:
        raise Unavailable(f"/proc says no {field}")
    return int(found[1]) * 1024 / 1e6
