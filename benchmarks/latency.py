"""How long until everybody has reacted to an order, while the whole shop serves 50 a second.

From the commit of OrderPlaced's outbox row to the latest `handled_at` of its five reactions; and,
beside it, to the commit of the last of them, which is when its effects can be seen.
"""

from collections.abc import Sequence
from functools import partial

from benchmarks import whole
from benchmarks.comparing import (
    Bench,
    Comparison,
    Contestant,
    Figure,
    HistoryEvent,
    Role,
    WentWrong,
)
from benchmarks.figures import Result, Target
from benchmarks.servers import Servers

RATE = 50.0
SECONDS = 60
LEFT_OUT = 5.0
"""Seconds at the start: connections are made, and consumers take one message at a time."""
ROUNDS = 2
_PATIENCE = 60.0


def _is_met(result: Result) -> bool:
    late = result.figures.get("p99")
    return late is not None and result.ours.median <= 30 and late.median <= 150


TARGET = Target("p50 ≤ 30 ms, p99 ≤ 150 ms", _is_met)


def measure(bench: Bench, servers: Servers) -> None:
    """Measure half of the orders' latency, and all but a hundredth's."""
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


def of_the_shop(servers: Servers, *, rate: float, seconds: float) -> HistoryEvent:
    """The latency of one shop, in milliseconds."""
    with whole.at_work(servers) as shop:
        shop.serve(rate=rate, seconds=seconds)
        if not shop.finish(seconds=_PATIENCE):
            raise WentWrong(f"{_PATIENCE:.0f} s after the last order not all has been reacted to")
        shop.verify()
        stories = shop.stories()
    first = min(each.placed for each in stories) + min(LEFT_OUT, seconds / 4)
    counted = [each for each in stories if each.placed >= first]
    heard = [1000 * (max(each.heard) - each.placed) for each in counted]
    committed = [1000 * (max(each.committed) - each.placed) for each in counted]
    return HistoryEvent(
        percentile(heard, 50),
        {
            "p99": Figure(percentile(heard, 99), "ms"),
            "p50 to the commit": Figure(percentile(committed, 50), "ms"),
            "p99 to the commit": Figure(percentile(committed, 99), "ms"),
        },
    )


def percentile(values: Sequence[float], share: float) -> float:
    """What so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * share // 100) - 1)]
