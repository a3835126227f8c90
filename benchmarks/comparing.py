"""Ours, the peers and the limit, measured in turn: round by round, so that all meet the same day.

What was measured is kept whatever happens afterwards: an interruption, or a contestant that fails.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import Measured, Missing, Result, Spread, Target, best, ratio


class NotThere(Exception):
    """A contestant cannot run here; the message is a sentence for its row."""


class WentWrong(Exception):
    """A contestant did not do its work, or not rightly; the message is a sentence."""


class Role(Enum):
    """What a contestant is in a comparison."""

    OURS = "ours"
    PEER = "peer"
    LIMIT = "limit"


class Figure(NamedTuple):
    """A number and its unit."""

    value: float
    unit: str


class HistoryEvent(NamedTuple):
    """What one turn showed: its figure, and others that belong to it, by name."""

    value: float
    besides: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Contestant:
    """One who is measured: `measure` does it once, and checks that the work was done."""

    name: str
    role: Role
    measure: Callable[[], float | HistoryEvent]


@dataclass(slots=True, kw_only=True)
class Comparison:
    """What is being measured for one figure.

    Attributes:
        name: of the figure and its file.
        unit: such as `orders/s`.
        contestants: the first of ours is the figure; others of ours stand beside it.
        rounds: turns at most, where each takes long.
    """

    name: str
    unit: str
    target: Target
    contestants: Sequence[Contestant]
    less_is_better: bool = False
    rounds: int | None = None
    values: dict[str, list[float]] = field(default_factory=dict)
    besides: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def result(self) -> Result | None:
        """The figure as far as it goes; None while ours has not been measured."""
        ours = self._measured(Role.OURS)
        peers, limit = self._measured(Role.PEER), self._measured(Role.LIMIT)
        spread = next(iter(ours.values()))
        if isinstance(spread, Missing):
            return None
        measured = {
            "name": self.name,
            "ours": spread,
            "peers": peers,
            "limit": limit,
            "ratio_to_best_peer": ratio(spread, best(peers, less_is_better=self.less_is_better)),
            "ratio_to_limit": ratio(spread, best(limit, less_is_better=self.less_is_better)),
            "figures": self._figures(ours),
            "target": self.target.words,
        }
        met = self.target.is_met(Result(**measured))  # type: ignore[arg-type]  # the fields above
        return Result(**measured, met=met)  # type: ignore[arg-type]  # the same

    def take(self, contestant: Contestant, told: HistoryEvent) -> None:
        """Keep what a turn has shown."""
        self.values.setdefault(contestant.name, []).append(told.value)
        for name, (value, unit) in told.besides.items():
            self.besides.setdefault((name, unit), []).append(value)

    def _figures(self, ours: Mapping[str, Measured]) -> dict[str, Spread]:
        """All of ours by name, where there is more than the one."""
        found = {name: each for name, each in ours.items() if isinstance(each, Spread)}
        for (name, unit), values in self.besides.items():
            found[name] = Spread.of(values, unit)
        return found if len(found) > 1 else {}

    def _measured(self, role: Role) -> dict[str, Measured]:
        found: dict[str, Measured] = {}
        for each in self.contestants:
            if each.role is not role:
                continue
            values = self.values.get(each.name)
            why = self.missing.get(each.name, "not measured: interrupted before its turn")
            found[each.name] = Spread.of(values, self.unit) if values else Missing(why)
        return found


@dataclass(slots=True, kw_only=True)
class Bench:
    """One run of benchmarks.

    Attributes:
        rounds: how often each contestant has its turn.
        scale: of all sizes; 1 for those that the targets speak of.
        results: the folder for what is measured.
        say: where progress goes.
    """

    rounds: int
    scale: float
    results: Path
    say: Callable[[str], None]
    kept: list[Result] = field(default_factory=list)

    def size(self, full: int, *, least: int = 1) -> int:
        """So many, at this run's scale."""
        return max(least, round(full * self.scale))

    def compare(self, comparison: Comparison) -> Result | None:
        """Measure all in turn, and keep it."""
        with self._keeping(comparison):
            for number in range(self._rounds(comparison)):
                for contestant in comparison.contestants:
                    if contestant.name not in comparison.missing:
                        self._turn(comparison, contestant, number + 1)
        return comparison.result()

    def _rounds(self, comparison: Comparison) -> int:
        return min(self.rounds, comparison.rounds or self.rounds)

    def _turn(self, comparison: Comparison, contestant: Contestant, number: int) -> None:
        began = time.monotonic()
        where = f"{comparison.name} {number}/{self._rounds(comparison)}  {contestant.name:<34}"
        try:
            measured = contestant.measure()
        except (NotThere, WentWrong) as reason:
            if isinstance(reason, WentWrong) and contestant.role is Role.OURS:
                raise
            comparison.missing[contestant.name] = str(reason)
            comparison.values.pop(contestant.name, None)  # a wrong result has no speed
            self.say(f"{where} {reason}")
            return
        told = measured if isinstance(measured, HistoryEvent) else HistoryEvent(measured, {})
        comparison.take(contestant, told)
        took = time.monotonic() - began
        besides = ", ".join(f"{name} {each.value:,.4g}" for name, each in told.besides.items())
        self.say(
            f"{where} {told.value:>10,.4g} {comparison.unit}  {besides and besides + '  '}"
            f"(took {took:.0f} s)"
        )

    @contextmanager
    def _keeping(self, comparison: Comparison) -> Iterator[None]:
        try:
            yield
        finally:
            result = comparison.result()
            if result is None:
                self.say(f"{comparison.name}: nothing was measured of ours, so nothing is kept")
            else:
                self.kept.append(result)
                result.keep(self.results)
                self.say(_summary(result))


def _summary(result: Result) -> str:
    words = [f"{result.name}: {result.ours.median:,g} {result.ours.unit}"]
    if result.ratio_to_best_peer is not None:
        words.append(f"{result.ratio_to_best_peer:g} × the best peer")
    if result.ratio_to_limit is not None:
        words.append(f"{result.ratio_to_limit:g} × the limit")
    return f"{', '.join(words)}; target {result.target}: {'met' if result.met else 'not met'}"


def rate_between(times: Sequence[float], *, begin: float = 0.1) -> float:
    """How many a second, from where a tenth was done to the end, so that no start-up counts.

    Args:
        times: when each was done, in seconds, in any order.
    """
    ordered = sorted(times)
    first = int(len(ordered) * begin)
    seconds = ordered[-1] - ordered[first]
    if seconds <= 0:
        raise WentWrong(f"{len(ordered)} are too few to measure")
    return (len(ordered) - 1 - first) / seconds
