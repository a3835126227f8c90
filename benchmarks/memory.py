"""The memory of a consumer: at rest, and how much it grows while it works off a backlog.

Both are the resident memory of the inventory service's process, as Linux counts it.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.children import Child, clean_environment, shop, started, wait_for
from benchmarks.comparing import Bench, Comparison, Contestant, NotThere, Role
from benchmarks.figures import Target
from benchmarks.filling import fill_ours
from benchmarks.react import handled_in, stock
from benchmarks.sample import Orders
from benchmarks.servers import Place, Servers
from shared.messaging.connect import broker_at

BACKLOG = 500_000
AT_MOST = 60.0
"""Seconds under the backlog; memory that grows without end shows long before."""
_PATIENCE = 60.0

REST = Target("≤ 80 MB", lambda result: result.ours.median <= 80)
GROWTH = Target("≤ 40 MB", lambda result: result.ours.median <= 40)


def measure(bench: Bench, servers: Servers) -> None:
    """Measure at rest, then under a backlog."""
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
    """Megabytes of a consumer that has nothing to do."""
    with servers.shop("inventory") as place:
        command = shop("run", "inventory")
        with started(command, clean_environment(**place.environment)) as (child, check):
            _until_consuming(place, check)
            return _megabytes(child, "VmRSS")


def growth(servers: Servers, orders: Orders) -> float:
    """Megabytes that it grows at most, over its rest, while it handles what waits."""
    with servers.shop("inventory") as place:
        url = place.databases["inventory"]
        stock(url, orders)
        command = shop("run", "inventory")
        with (
            started(command, clean_environment(**place.environment)) as (child, check),
            psycopg.connect(url, autocommit=True) as connection,
        ):
            _until_consuming(place, check)
            rest = _megabytes(child, "VmRSS")
            fill_ours(place.amqp_url, orders, "inventory")

            def enough() -> bool:
                done, seconds = handled_in(connection)
                return done >= orders.number or seconds > AT_MOST

            wait_for(enough, seconds=2 * AT_MOST + _PATIENCE, what="the backlog", check=check)
            return max(0.0, _megabytes(child, "VmHWM") - rest)


def _until_consuming(place: Place, check: Callable[[], None]) -> None:
    def is_consuming() -> bool:
        broker = broker_at(place.amqp_url)
        try:
            return broker.depth("inventory").consumers > 0
        finally:
            broker.close()

    wait_for(is_consuming, seconds=_PATIENCE, what="it consumes", check=check, every=0.5)


def _megabytes(child: Child, field: str) -> float:
    """What Linux says of a process: VmRSS is now, VmHWM the most there ever was."""
    status = Path(f"/proc/{child.pid}/status")
    if not status.exists():
        raise NotThere("memory is read from /proc, which this system does not have")
    found = re.search(rf"{field}:\s+(\d+) kB", status.read_text())
    if found is None:
        raise NotThere(f"/proc says no {field}")
    return int(found[1]) * 1024 / 1e6
