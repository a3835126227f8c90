"""The latency of an order's reactions while the whole shop serves 50 orders per second.

Measured from the commit of OrderPlaced's outbox row to the latest `handled_at` of its five
reactions, and to the commit of the last of them, when its effects are visible.
"""

from collections.abc import Callable, Sequence
from functools import partial

from benchmarks import whole_shop
from benchmarks.comparison import (
    Bench,
    Comparison,
    Contestant,
    Figure,
    Measurement,
    MeasurementFailed,
    Role,
)
from benchmarks.result import Result, Target
from benchmarks.servers import Servers, Workspace
from benchmarks.whole_shop import BenchmarkShop

RATE = 50.0
SECONDS = 60
WARM_UP = 5.0
"""Seconds at the start that do not count: services connect, and consumers start slowly."""
ROUNDS = 2
_TIMEOUT = 60.0


def _is_met(result: Result) -> bool:
    late = result.figures.get("p99")
    return late is not None and result.ours.median <= 30 and late.median <= 150


TARGET = Target("p50 ≤ 30 ms, p99 ≤ 150 ms", _is_met)


def measure(bench: Bench, servers: Servers) -> None:
    """Measure the latency's median and 99th percentile."""
    seconds = bench.size(SECONDS, least=3)
    ours = Contestant("p50", Role.OURS, partial(of_the_shop, servers, rate=RATE, seconds=seconds))
    bench.compare(
        Comparison(
            name="latency",
            unit="ms",
            target=TARGET,
            contestants=[ours],
            less_is_better=True,
            rounds=ROUNDS,
        )
    )


def of_the_shop(
    servers: Servers,
    *,
    rate: float,
    seconds: float,
    before: Callable[[Workspace], None] = lambda _: None,
    after: Callable[[BenchmarkShop], None] = lambda _: None,
) -> Measurement:
    """Measure the latency of one shop, in milliseconds.

    Args:
        before: called before the services start.
        after: called after all orders are handled, while the services still run.
    """
    with whole_shop.running_shop(servers, before=before) as shop:
        shop.place_orders(rate=rate, seconds=seconds)
        if not shop.wait_until_handled(seconds=_TIMEOUT):
            raise MeasurementFailed(
                f"{_TIMEOUT:.0f} s after the last order not all has been reacted to"
            )
        shop.verify()
        traces = shop.traces()
        after(shop)
    first = min(each.placed_at for each in traces) + min(WARM_UP, seconds / 4)
    counted = [each for each in traces if each.placed_at >= first]
    heard = [1000 * (max(each.placed_handled_at) - each.placed_at) for each in counted]
    committed = [1000 * (max(each.placed_committed_at) - each.placed_at) for each in counted]
    return Measurement(
        percentile(heard, 50),
        {
            "p99": Figure(percentile(heard, 99), "ms"),
            "p50 to the commit": Figure(percentile(committed, 50), "ms"),
            "p99 to the commit": Figure(percentile(committed, 99), "ms"),
        },
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * share // 100) - 1)]
