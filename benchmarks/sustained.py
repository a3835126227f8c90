"""How many orders a second the whole shop takes for two minutes without falling behind.

Each is placed, paid, shipped, its two mails sent, and all 13 reactions done. A rate holds when as
many are finished as come, and hardly more are under way at the end than at the start: in queues,
in outboxes, or being handled.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import mean

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
from benchmarks.latency import percentile
from benchmarks.servers import Servers

RATES = (150.0, 125.0, 100.0)
"""Orders a second, tried in this order until one holds."""
SECONDS = 120
TRIAL = 30
"""Seconds that a rate is tried first: one that is far too high shows at once."""
LEFT_OUT = 10.0
"""Seconds at the start, as in `latency`, and until all are at work."""
_PATIENCE = 30.0


def _is_met(result: Result) -> bool:
    held = result.figures.get("rate that held")
    return held is not None and held.median >= 100


TARGET = Target("≥ 100/s (reach for 150), queues not growing", _is_met)


@dataclass(frozen=True, slots=True)
class Course:
    """How it went at one rate, but for its start.

    Attributes:
        finished: orders fully reacted to, each second.
        growth: how many more were under way in the last fifth than in the first.
        took: seconds until each was fully reacted to, of those that were.
    """

    finished: float
    growth: float
    took: Sequence[float]

    @classmethod
    def of(cls, stories: Sequence[whole.Story], *, left_out: float) -> "Course":
        """Worked out from what became of each order."""
        placed = sorted(each.placed for each in stories)
        done = [each for each in stories if each.is_finished]
        ends = sorted(max(each.handled) for each in done)
        first, last = placed[0] + left_out, placed[-1]
        seconds = last - first
        if seconds <= 0:
            raise WentWrong(f"{len(stories)} orders are too few to measure")

        def under_way(share: float) -> int:
            moment = first + share * seconds
            return bisect_right(placed, moment) - bisect_right(ends, moment)

        return cls(
            finished=(bisect_right(ends, last) - bisect_right(ends, first)) / seconds,
            growth=mean(under_way(0.8 + each / 100) for each in range(21))
            - mean(under_way(each / 100) for each in range(21)),
            took=[max(each.handled) - each.placed for each in done if each.placed >= first],
        )

    def holds(self, rate: float) -> bool:
        """Whether it keeps up: a hundredth, or the orders of one second, may be chance."""
        return self.finished >= 0.99 * rate and self.growth <= rate


def measure(bench: Bench, servers: Servers) -> None:
    """Measure the highest of the rates that holds."""
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


def highest_held(bench: Bench, servers: Servers, *, lengths: Sequence[float]) -> HistoryEvent:
    """One rate after the other, each in a new shop; the lowest for the whole time in any case."""
    tried = {}
    for rate in RATES:
        for seconds in lengths:
            course, all_done = at_rate(servers, rate=rate, seconds=seconds)
            holds = all_done and course.holds(rate)
            bench.say(
                f"sustained: of {rate:g} orders/s for {seconds:g} s {course.finished:.1f} fully "
                f"reacted to, {course.growth:+.0f} under way: "
                f"{'holds' if holds else 'does not hold'}"
            )
            if not holds and rate != RATES[-1]:
                break
        tried[f"of {rate:g}/s"] = Figure(course.finished, "orders/s")
        if holds:
            break
    besides = tried | {
        "rate that held": Figure(rate if holds else 0.0, "orders/s"),
        "growth": Figure(course.growth, "orders"),
    }
    for share in (50, 99):
        if course.took:
            besides[f"p{share} to the last reaction"] = Figure(percentile(course.took, share), "s")
    return HistoryEvent(course.finished, besides)


def at_rate(servers: Servers, *, rate: float, seconds: float) -> tuple[Course, bool]:
    """How one shop fares; and whether it finished all soon after the last order came."""
    with whole.at_work(servers) as shop:
        shop.serve(rate=rate, seconds=seconds)
        all_done = shop.finish(seconds=_PATIENCE)
        if all_done:
            shop.verify()
        course = Course.of(shop.stories(), left_out=min(LEFT_OUT, seconds / 4))
    return course, all_done
