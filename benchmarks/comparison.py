"""Compares ours with peers and a limit, round by round, so that all have the same conditions.

A result is written even if the run is interrupted or a contestant fails later.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from benchmarks.result import Measured, NotMeasured, Result, Spread, Target, best, ratio


class Unavailable(Exception):
    """A contestant cannot run on this machine; the message is shown in its row."""


class MeasurementFailed(Exception):
    """A contestant did not do its work correctly; the message says what is wrong."""


class Role(Enum):
    """The role of a contestant in a comparison."""

    OURS = "ours"
    PEER = "peer"
    LIMIT = "limit"


class Figure(NamedTuple):
    """A number and its unit."""

    value: float
    unit: str


class Measurement(NamedTuple):
    """The result of one run: its value, and related figures by name."""

    value: float
    figures: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Contestant:
    """A measured program: `measure` runs it once and verifies its work."""

    name: str
    role: Role
    measure: Callable[[], float | Measurement]


@dataclass(slots=True, kw_only=True)
class Comparison:
    """A figure, its contestants and their results so far.

    Attributes:
        name: of the figure and its file.
        unit: such as `orders/s`.
        contestants: the first of ours is the figure; the others of ours are shown beside it.
        rounds: the maximum of rounds, for slow contestants.
    """

    name: str
    unit: str
    target: Target
    contestants: Sequence[Contestant]
    less_is_better: bool = False
    rounds: int | None = None
    values: dict[str, list[float]] = field(default_factory=dict)
    figures: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def result(self) -> Result | None:
        """The result so far; None until ours has been measured."""
        ours = self._measured(Role.OURS)
        peers, limit = self._measured(Role.PEER), self._measured(Role.LIMIT)
        spread = next(iter(ours.values()))
        if isinstance(spread, NotMeasured):
            return None
        fields = {
            "name": self.name,
            "ours": spread,
            "peers": peers,
            "limit": limit,
            "ratio_to_best_peer": ratio(spread, best(peers, less_is_better=self.less_is_better)),
            "ratio_to_limit": ratio(spread, best(limit, less_is_better=self.less_is_better)),
            "figures": self._figures(ours),
            "target": self.target.words,
        }
        met = self.target.is_met(Result(**fields))  # type: ignore[arg-type]  # the fields above
        return Result(**fields, met=met)  # type: ignore[arg-type]  # the fields above

    def add(self, contestant: Contestant, measured: Measurement) -> None:
        """Add the result of one run."""
        self.values.setdefault(contestant.name, []).append(measured.value)
        for name, (value, unit) in measured.figures.items():
            self.figures.setdefault((name, unit), []).append(value)

    def _figures(self, ours: Mapping[str, Measured]) -> dict[str, Spread]:
        """All figures of ours by name; none if there is only one."""
        found = {name: each for name, each in ours.items() if isinstance(each, Spread)}
        for (name, unit), values in self.figures.items():
            found[name] = Spread.of(values, unit)
        return found if len(found) > 1 else {}

    def _measured(self, role: Role) -> dict[str, Measured]:
        found: dict[str, Measured] = {}
        for each in self.contestants:
            if each.role is not role:
                continue
            values = self.values.get(each.name)
            why = self.missing.get(each.name, "not measured: interrupted before its first run")
            found[each.name] = Spread.of(values, self.unit) if values else NotMeasured(why)
        return found


@dataclass(slots=True, kw_only=True)
class Bench:
    """One run of benchmarks.

    Attributes:
        rounds: how often each contestant is measured.
        scale: factor of all sizes; the targets apply to 1.
        results: the folder of the result files.
        progress: called with each line of progress.
        finished: the results that were written.
    """

    rounds: int
    scale: float
    results: Path
    progress: Callable[[str], None]
    finished: list[Result] = field(default_factory=list)

    def size(self, full: int, *, least: int = 1) -> int:
        """A size at this run's scale, at least `least`."""
        return max(least, round(full * self.scale))

    def compare(self, comparison: Comparison) -> Result | None:
        """Measure all contestants round by round, and write the result.

        Raises:
            MeasurementFailed: ours failed.
        """
        with self._keeping(comparison):
            for number in range(self._rounds(comparison)):
                for contestant in comparison.contestants:
                    if contestant.name not in comparison.missing:
                        self._run(comparison, contestant, number + 1)
        return comparison.result()

    def _rounds(self, comparison: Comparison) -> int:
        return min(self.rounds, comparison.rounds or self.rounds)

    def _run(self, comparison: Comparison, contestant: Contestant, number: int) -> None:
        began = time.monotonic()
        where = f"{comparison.name} {number}/{self._rounds(comparison)}  {contestant.name:<34}"
        try:
            measured = contestant.measure()
        except (Unavailable, MeasurementFailed) as reason:
            if isinstance(reason, MeasurementFailed) and contestant.role is Role.OURS:
                raise
            comparison.missing[contestant.name] = str(reason)
            comparison.values.pop(contestant.name, None)  # a wrong result is not measured
            self.progress(f"{where} {reason}")
            return
        measured = measured if isinstance(measured, Measurement) else Measurement(measured, {})
        comparison.add(contestant, measured)
        took = time.monotonic() - began
        figures = ", ".join(f"{name} {each.value:,.4g}" for name, each in measured.figures.items())
        self.progress(
            f"{where} {measured.value:>10,.4g} {comparison.unit}  {figures and figures + '  '}"
            f"(took {took:.0f} s)"
        )

    @contextmanager
    def _keeping(self, comparison: Comparison) -> Iterator[None]:
        try:
            yield
        finally:
            result = comparison.result()
            if result is None:
                self.progress(f"{comparison.name}: ours was not measured, so no result is written")
            else:
                self.finished.append(result)
                result.write_to(self.results)
                self.progress(_summary(result))


def _summary(result: Result) -> str:
    words = [f"{result.name}: {result.ours.median:,g} {result.ours.unit}"]
    if result.ratio_to_best_peer is not None:
        words.append(f"{result.ratio_to_best_peer:g} × the best peer")
    if result.ratio_to_limit is not None:
        words.append(f"{result.ratio_to_limit:g} × the limit")
    return f"{', '.join(words)}; target {result.target}: {'met' if result.met else 'not met'}"


def rate_between(times: Sequence[float], *, begin: float = 0.1) -> float:
    """Events per second after the first tenth, so that the start-up does not count.

    Args:
        times: when each event was done, in seconds, in any order.
    """
    ordered = sorted(times)
    first = int(len(ordered) * begin)
    seconds = ordered[-1] - ordered[first]
    if seconds <= 0:
        raise MeasurementFailed(f"{len(ordered)} are too few to measure")
    return (len(ordered) - 1 - first) / seconds
