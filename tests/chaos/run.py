"""The chaos run: injects faults under a steady stream of orders, then checks the invariants."""

import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

from shared.runtime.process import EXIT_HUNG
from tests.chaos import invariants
from tests.chaos.any_environment import AnyEnvironment, customers
from tests.chaos.embedded_environment import running_embedded
from tests.chaos.environment import running_environment
from tests.chaos.faults import NEIGHBOURS, PROCESSES, SERVERS, Fault
from tests.chaos.faulty_service import FAILS
from tests.chaos.state import SystemState
from tests.chaos.supervisor import Supervisor

RATE = 4.0
"""Orders per second."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Injection:
    """One injected fault.

    Attributes:
        began, ended: seconds into the run.
        hit: what it hit, or why it hit nothing.
    """

    fault: Fault
    began: float
    ended: float
    hit: str
    succeeded: bool


@dataclass(slots=True, kw_only=True)
class Report:
    """The faults and results of a run."""

    seed: int
    seconds: float = 0.0
    injections: list[Injection] = field(default_factory=list)
    restarts: dict[str, list[int]] = field(default_factory=dict)
    unexpected_exits: list[str] = field(default_factory=list)
    state: SystemState | None = None
    violations: list[str] = field(default_factory=list)

    @property
    def succeeded(self) -> bool:
        return not self.problems

    @property
    def problems(self) -> list[str]:
        """Violated invariants, faults that hit nothing, and processes that ended unexpectedly."""
        missed = [
            f"{each.fault.name}: {each.hit}" for each in self.injections if not each.succeeded
        ]
        return [*self.violations, *missed, *self.unexpected_exits]

    def totals(self) -> dict[str, object]:
        """The totals of the run."""
        found = self.state
        assert found is not None
        orders = list(found.orders.values())
        paid = [each for each in orders if each["paid_at"]]
        refunded = sum((each["refunded_amount"] or Decimal(0) for each in orders), Decimal(0))
        taken = sum((each["total_amount"] for each in paid), Decimal(0))
        mails = Counter(found.context.mails or [])
        return {
            "orders placed": len(orders),
            "of them cancelled": sum(1 for each in orders if each["cancelled_at"]),
            "shipped": sum(1 for each in found.shipments.values() if each["shipped_at"]),
            "paid": taken,
            "refunded": refunded,
            "revenue that analytics counts": found.revenue,
            "points": sum(
                each["points"] or 0 for each in found.awards.values() if not each["taken_back_at"]
            ),
            "events published, each in the history": len(found.outbox),
            "events applied": sum(len(each) for each in found.inbox.values()),
            "dead letters": sum(len(each) for each in found.broker.dead.values()),
            "mails": len(mails),
            "duplicate mails": mails.total() - len(mails),
            "process restarts": sum(len(each) for each in self.restarts.values()),
        }


def short_run(faults: Sequence[Fault]) -> list[Fault]:
    return [each for each in faults if each.is_short]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where a run takes place.

    Attributes:
        running: starts the system in a folder, with a seed.
        faults: the groups of faults that are injected side by side.
    """

    running: Callable[[Path, int], AbstractContextManager[AnyEnvironment]]
    faults: Sequence[Sequence[Fault]]


ON_SERVERS = Setting(
    running=lambda home, seed: running_environment(home, seed=seed), faults=(SERVERS, PROCESSES)
)
EMBEDDED = Setting(
    running=lambda home, seed: running_embedded(home, seed=seed), faults=(NEIGHBOURS,)
)


def chaos(
    home: Path, *, seed: int, seconds: float | None, say: Say, setting: Setting = ON_SERVERS
) -> Report:
    """Run the chaos test.

    Args:
        seconds: how long faults are injected, each at least once; None for the short run.
        say: called with each line of the timeline.
    """
    report = Report(seed=seed)
    with setting.running(home, seed) as environment:
        began = time.monotonic()
        with customers(environment, rate=RATE):
            threads = [
                _FaultThread(environment, report, faults, seconds, began=began, say=say)
                for faults in setting.faults
            ]
            for each in threads:
                each.start()
            for each in threads:
                each.join()
        report.seconds = time.monotonic() - began
        say(_line(report.seconds, "no more orders; waiting until all work is done"))
        report.state = environment.wait_until_quiet()
        report.violations = invariants.violations(report.state)
        say(_line(time.monotonic() - began, "all work is done"))
        report.restarts = {
            name: each.exit_codes for name, each in environment.supervisor.processes.items()
        }
        report.unexpected_exits = list(unexpected_exits(environment.supervisor))
    return report


class _FaultThread(threading.Thread):
    """Injects faults one after the other, in an order that the seed determines."""

    def __init__(  # noqa: PLR0913 - all that it needs
        self,
        environment: AnyEnvironment,
        report: Report,
        faults: Sequence[Fault],
        seconds: float | None,
        *,
        began: float,
        say: Say,
    ) -> None:
        super().__init__(daemon=True)
        self._here = environment
        self._report = report
        self._faults = short_run(faults) if seconds is None else list(faults)
        self._until = began + (seconds or 0)
        self._began = began
        self._say = say

    def run(self) -> None:
        random = Random(f"{self._report.seed} {self._faults[0].name}")  # noqa: S311 - repeatable
        is_first = True
        while is_first or time.monotonic() < self._until:
            for fault in random.sample(self._faults, len(self._faults)):
                if is_first or time.monotonic() < self._until:
                    self._inject(fault, random)
            is_first = False

    def _inject(self, fault: Fault, random: Random) -> None:
        began = time.monotonic() - self._began
        try:
            hit, succeeded = fault.inject(self._here, random), True
        except Exception as error:  # noqa: BLE001 - the run goes on and fails at the end
            hit, succeeded = f"{type(error).__name__}: {error}", False
        ended = time.monotonic() - self._began
        self._report.injections.append(Injection(fault, began, ended, hit, succeeded))
        mark = "" if succeeded else "MISSED: "
        self._say(_line(began, f"{fault.name} ({ended - began:.0f} s): {mark}{hit}"))


def unexpected_exits(supervisor: Supervisor) -> Iterator[str]:
    """Processes that ended without being killed, stopped, or past a handler's deadline."""
    for each in supervisor.processes.values():
        said = each.log.read_text(errors="replace")
        for broke in ("unexpected error", "cannot continue"):
            if broke in said:
                yield f"{each.name}: {said.count(broke)} × {broke}"
        # A frozen server may delay a stopping process beyond its grace period.
        late = said.count("did not stop within the grace period")
        strange = [code for code in each.exit_codes if code not in (0, -signal.SIGKILL, EXIT_HUNG)]
        if strange.count(1) > late or set(strange) - {1}:
            yield f"{each.name} ended with {strange}, {late} times past its grace period"


def _line(seconds: float, text: str) -> str:
    return f"{timedelta(seconds=round(seconds))}  {text}"


def as_markdown(report: Report) -> str:
    """The report for docs/reliability.md."""
    hits: dict[str, list[Injection]] = {}
    for each in report.injections:
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
        "| total | |",
        "|---|---|",
        *(f"| {what} | {figure} |" for what, figure in report.totals().items()),
        "",
        "All invariants hold." if report.succeeded else "VIOLATED: " + "; ".join(report.problems),
    ]
    return "\n".join(lines)


def print_out(report: Report) -> None:
    """Print the totals and the problems."""
    write = sys.stdout.write
    write("\n")
    for what, figure in report.totals().items():
        write(f"  {what:<45}{figure}\n")
    for each in report.problems:
        write(f"  ✗ {each}\n")
    write("\nAll invariants hold.\n" if report.succeeded else "\nInvariants violated.\n")
