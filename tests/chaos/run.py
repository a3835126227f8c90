"""The chaos run: faults in two lanes under a steady stream of orders, then quiet, then the laws."""

import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

from shared.runtime.process import EXIT_HUNG
from tests.chaos import laws
from tests.chaos.crew import Crew
from tests.chaos.evidence import Evidence
from tests.chaos.failing import FAILS
from tests.chaos.faults import PROCESSES, SERVERS, Fault
from tests.chaos.site import Site, customers, site

RATE = 4.0
"""Orders per second."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault that was done.

    Attributes:
        began, ended: seconds into the run.
        hit: what it hit, or why it could not.
    """

    fault: Fault
    began: float
    ended: float
    hit: str
    is_well: bool


@dataclass(slots=True, kw_only=True)
class Report:
    """What a run did and found."""

    seed: int
    seconds: float = 0.0
    strikes: list[Strike] = field(default_factory=list)
    restarts: dict[str, list[int]] = field(default_factory=dict)
    broke_down: list[str] = field(default_factory=list)
    evidence: Evidence | None = None
    breaches: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        return not self.problems

    @property
    def problems(self) -> list[str]:
        """Laws broken, faults that hit nothing, processes that ended by themselves."""
        missed = [f"{each.fault.name}: {each.hit}" for each in self.strikes if not each.is_well]
        return [*self.breaches, *missed, *self.broke_down]

    def balance(self) -> dict[str, object]:
        """The books in figures."""
        found = self.evidence
        assert found is not None
        orders = list(found.orders.values())
        paid = [each for each in orders if each["paid_at"]]
        refunded = sum((each["refunded_amount"] or Decimal(0) for each in orders), Decimal(0))
        taken = sum((each["total_amount"] for each in paid), Decimal(0))
        mails = Counter(found.world.mails or [])
        return {
            "orders placed": len(orders),
            "of them cancelled": sum(1 for each in orders if each["cancelled_at"]),
            "shipped": sum(1 for each in found.shipments.values() if each["shipped_at"]),
            "taken": taken,
            "given back": refunded,
            "revenue that analytics counts": found.revenue,
            "points": sum(
                each["points"] or 0 for each in found.awards.values() if not each["taken_back_at"]
            ),
            "events said, each sent and in the history": len(found.said),
            "events applied": sum(len(each) for each in found.inbox.values()),
            "dead letters": sum(len(each) for each in found.held.dead.values()),
            "mails": len(mails),
            "second copies of mails": mails.total() - len(mails),
            "processes started again": sum(len(each) for each in self.restarts.values()),
        }


def short_of(faults: Sequence[Fault]) -> list[Fault]:
    return [each for each in faults if each.is_short]


def chaos(home: Path, *, seed: int, seconds: float | None, say: Say) -> Report:
    """Run it.

    Args:
        seconds: how long faults go on, each done at least once; None for the short ones once.
        say: told each line of the timeline.
    """
    report = Report(seed=seed)
    with site(home, seed=seed) as here:
        began = time.monotonic()
        with customers(here, rate=RATE):
            lanes = [
                _Lane(here, report, faults, seconds, began=began, say=say)
                for faults in (SERVERS, PROCESSES)
            ]
            for each in lanes:
                each.start()
            for each in lanes:
                each.join()
        report.seconds = time.monotonic() - began
        say(_line(report.seconds, "the customers have gone; waiting for quiet"))
        report.evidence = here.comes_to_rest()
        report.breaches = laws.breaches(report.evidence)
        say(_line(time.monotonic() - began, "quiet"))
        report.restarts = {name: each.codes for name, each in here.crew.members.items()}
        report.broke_down = list(breakdowns(here.crew))
    return report


class _Lane(threading.Thread):
    """Faults one after the other, in an order that the seed decides."""

    def __init__(  # noqa: PLR0913 - all that it works on
        self,
        here: Site,
        report: Report,
        faults: Sequence[Fault],
        seconds: float | None,
        *,
        began: float,
        say: Say,
    ) -> None:
        super().__init__(daemon=True)
        self._here = here
        self._report = report
        self._faults = short_of(faults) if seconds is None else list(faults)
        self._until = began + (seconds or 0)
        self._began = began
        self._say = say

    def run(self) -> None:
        mix = Random(f"{self._report.seed} {self._faults[0].name}")  # noqa: S311 - to be repeatable
        is_first = True
        while is_first or time.monotonic() < self._until:
            for fault in mix.sample(self._faults, len(self._faults)):
                if is_first or time.monotonic() < self._until:
                    self._strike(fault, mix)
            is_first = False

    def _strike(self, fault: Fault, mix: Random) -> None:
        began = time.monotonic() - self._began
        try:
            hit, is_well = fault.strike(self._here, mix), True
        except Exception as error:  # noqa: BLE001 - whatever it was, the run goes on and fails
            hit, is_well = f"{type(error).__name__}: {error}", False
        ended = time.monotonic() - self._began
        self._report.strikes.append(Strike(fault, began, ended, hit, is_well))
        mark = "" if is_well else "MISSED: "
        self._say(_line(began, f"{fault.name} ({ended - began:.0f} s): {mark}{hit}"))


def breakdowns(crew: Crew) -> Iterator[str]:
    """Processes that ended otherwise than killed, asked to, or by a handler past its deadline."""
    for each in crew.members.values():
        said = each.log.read_text(errors="replace")
        for broke in ("unexpected error", "cannot continue"):
            if broke in said:
                yield f"{each.name}: {said.count(broke)} × {broke}"
        # A frozen server may hold one that was asked to stop for longer than its grace.
        late = said.count("did not stop within the grace period")
        strange = [code for code in each.codes if code not in (0, -signal.SIGKILL, EXIT_HUNG)]
        if strange.count(1) > late or set(strange) - {1}:
            yield f"{each.name} ended with {strange}, {late} times past its grace"


def _line(seconds: float, text: str) -> str:
    return f"{timedelta(seconds=round(seconds))}  {text}"


def as_markdown(report: Report) -> str:
    """The report for docs/reliability.md."""
    hits: dict[str, list[Strike]] = {}
    for each in report.strikes:
        hits.setdefault(each.fault.name, []).append(each)
    lines = [
        f"### Seed {report.seed}, {report.seconds:.0f} seconds",
        "",
        f"{RATE:.0f} orders per second; in half of the services {FAILS:.0%} of events fail first.",
        "",
        "| fault | times | what it hit, the last time |",
        "|---|---|---|",
        *(f"| {name} | {len(each)} | {each[-1].hit} |" for name, each in sorted(hits.items())),
        "",
        "| balance | |",
        "|---|---|",
        *(f"| {what} | {figure} |" for what, figure in report.balance().items()),
        "",
        "All laws kept." if report.is_well else "BROKEN: " + "; ".join(report.problems),
    ]
    return "\n".join(lines)


def print_out(report: Report) -> None:
    """Balance and problems, for a person."""
    write = sys.stdout.write
    write("\n")
    for what, figure in report.balance().items():
        write(f"  {what:<45}{figure}\n")
    for each in report.problems:
        write(f"  ✗ {each}\n")
    write("\nAll laws kept.\n" if report.is_well else "\nLaws broken.\n")
