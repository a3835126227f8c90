"""The highest rate of orders that the whole shop sustains for two minutes.

An order is finished when it is paid and shipped, its two mails are sent, and all 13 reactions are
done. A rate is sustained if orders are finished as fast as they are placed, and hardly more are
unfinished at the end than at the start.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import mean

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
from benchmarks.latency import percentile
from benchmarks.result import Result, Target
from benchmarks.servers import Servers

RATES = (150.0, 125.0, 100.0)
"""Orders per second, tried in this order until one is sustained."""
SECONDS = 120
TRIAL = 30
"""Seconds that a rate is tried first, which is enough to rule out one that is far too high."""
WARM_UP = 10.0
"""Seconds at the start that do not count, as in `latency`."""
_TIMEOUT = 30.0


def _is_met(result: Result) -> bool:
    held = result.figures.get("rate that held")
    return held is not None and held.median >= 100


TARGET = Target("≥ 100/s (reach for 150), queues not growing", _is_met)


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The results at one rate, without the start.

    Attributes:
        finished: orders finished per second.
        growth: how many more orders were unfinished in the last fifth than in the first.
        took: seconds until each finished order was finished.
    """

    finished: float
    growth: float
    took: Sequence[float]

    @classmethod
    def of(cls, traces: Sequence[whole_shop.OrderTrace], *, warm_up: float) -> "LoadResult":
        """Calculate the results from the times of the orders."""
        placed = sorted(each.placed_at for each in traces)
        done = [each for each in traces if each.is_finished]
        ends = sorted(max(each.handled_at) for each in done)
        first, last = placed[0] + warm_up, placed[-1]
        seconds = last - first
        if seconds <= 0:
            raise MeasurementFailed(f"{len(traces)} orders are too few to measure")

        def unfinished(share: float) -> int:
            moment = first + share * seconds
            return bisect_right(placed, moment) - bisect_right(ends, moment)

        return cls(
            finished=(bisect_right(ends, last) - bisect_right(ends, first)) / seconds,
            growth=mean(unfinished(0.8 + each / 100) for each in range(21))
            - mean(unfinished(each / 100) for each in range(21)),
            took=[
                max(each.handled_at) - each.placed_at for each in done if each.placed_at >= first
            ],
        )

    def holds(self, rate: float) -> bool:
        """Whether the rate was sustained; 1 %, or the orders of one second, may be chance."""
        return self.finished >= 0.99 * rate and self.growth <= rate


def measure(bench: Bench, servers: Servers) -> None:
    """Measure the highest of the rates that is sustained."""
    lengths = sorted({bench.size(each, least=4) for each in (TRIAL, SECONDS)})
    work = partial(highest_held, bench, servers, lengths=lengths)
    bench.compare(
        Comparison(
            name="sustained",
            unit="orders/s",
            target=TARGET,
            contestants=[Contestant("fully reacted", Role.OURS, work)],
            rounds=1,
        )
    )


def highest_held(bench: Bench, servers: Servers, *, lengths: Sequence[float]) -> Measurement:
    """Try the rates, each with a new shop; the lowest is always tried for the full time."""
    tried = {}
    for rate in RATES:
        for seconds in lengths:
            load_result, all_done = at_rate(servers, rate=rate, seconds=seconds)
            holds = all_done and load_result.holds(rate)
            bench.progress(
                f"sustained: of {rate:g} orders/s for {seconds:g} s {load_result.finished:.1f} "
                f"finished, {load_result.growth:+.0f} unfinished: "
                f"{'holds' if holds else 'does not hold'}"
            )
            if not holds and rate != RATES[-1]:
                break
        tried[f"of {rate:g}/s"] = Figure(load_result.finished, "orders/s")
        if holds:
            break
    figures = tried | {
        "rate that held": Figure(rate if holds else 0.0, "orders/s"),
        "growth": Figure(load_result.growth, "orders"),
    }
    for share in (50, 99):
        if load_result.took:
            figures[f"p{share} to the last reaction"] = Figure(
                percentile(load_result.took, share), "s"
            )
    return Measurement(load_result.finished, figures)


def at_rate(servers: Servers, *, rate: float, seconds: float) -> tuple[LoadResult, bool]:
    """Measure one shop; return its results, and whether it finished all orders in time."""
    with whole_shop.running_shop(servers) as shop:
        shop.place_orders(rate=rate, seconds=seconds)
        all_done = shop.wait_until_handled(seconds=_TIMEOUT)
        if all_done:
            shop.verify()
        load_result = LoadResult.of(shop.traces(), warm_up=min(WARM_UP, seconds / 4))
    return load_result, all_done
