"""`python -m benchmarks`: runs benchmarks and writes their results; `make bench` starts it."""

import argparse
import importlib
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from benchmarks import report
from benchmarks.comparison import Bench, MeasurementFailed
from benchmarks.result import RESULTS
from benchmarks.servers import NoDocker, running
from shared.errors import ShopError

NAMES = (
    "relay",
    "react",
    "latency",
    "sustained",
    "growth",
    "memory",
    "startup",
    "embedded",
    "scale",
    "idle",
)
"""Modules of this package, each with a function `measure(bench, servers)`."""

INTERRUPTED = 130

_RAISE_AGAIN_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the requested benchmarks.

    Returns:
        The exit code: 2 for wrong input, 1 for what could not be done, 130 when interrupted.
    """
    arguments_given = _parser().parse_args(arguments)
    unknown = [name for name in arguments_given.only if name not in NAMES]
    if unknown:
        return _fail(f"there is no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}", 2)
    if not arguments_given.scale > 0 or arguments_given.rounds < 1:
        return _fail("SCALE should be above 0 and ROUNDS at least 1", 2)
    bench = Bench(
        rounds=arguments_given.rounds,
        scale=arguments_given.scale,
        results=arguments_given.results,
        progress=_progress(),
    )
    try:
        with _interruptible():
            return _measure(bench, arguments_given.only or NAMES)
    except KeyboardInterrupt:
        return _fail(
            "interrupted; the results so far are kept, and nothing is left running", INTERRUPTED
        )
    except NoDocker as error:
        return _fail(str(error), 1)


def _measure(bench: Bench, names: Sequence[str]) -> int:
    failed = 0
    bench.progress("starting RabbitMQ and PostgreSQL")
    with running() as servers:
        machine = report.machine(servers.versions())
        bench.progress(report.sentence(machine))
        try:
            for name in names:
                try:
                    importlib.import_module(f"benchmarks.{name}").measure(bench, servers)
                except (MeasurementFailed, ShopError) as error:
                    failed = _fail(f"{name}: {error}", 1)
        finally:
            if bench.finished:
                report.write(bench.results, machine)
                bench.progress(f"written to {bench.results}")
    if bench.finished:
        sys.stdout.write("\n" + report.table(bench.finished))
    return failed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("only", nargs="*", help=f"one of {', '.join(NAMES)}; all by default")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each (3)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor of all sizes; the targets apply to 1"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the results")
    return parser


def _progress() -> "Progress":
    return Progress(time.monotonic())


class Progress:
    """Prints progress to standard error; standard output gets only the table."""

    def __init__(self, began: float) -> None:
        self._began = began

    def __call__(self, sentence: str) -> None:
        """Print a line with the seconds since the start."""
        passed = time.monotonic() - self._began
        sys.stderr.write(f"{passed:6.0f} s  {sentence}\n")
        sys.stderr.flush()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first SIGINT or SIGTERM, and ignore more during clean-up."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        if _is_ending(sys.exception()):
            return
        if number != signal.SIGALRM:
            sys.stderr.write("\nstopping all processes and removing the containers\n")
        # An exception raised in an object's __del__ is printed and lost: then raise again.
        signal.setitimer(signal.ITIMER_REAL, _RAISE_AGAIN_SECONDS)
        raise KeyboardInterrupt

    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGALRM
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_ending(handled: BaseException | None) -> bool:
    """Whether KeyboardInterrupt is being handled, or an error that followed it."""
    while handled is not None and not isinstance(handled, KeyboardInterrupt):
        handled = handled.__context__
    return handled is not None


def _fail(sentence: str, code: int) -> int:
    sys.stderr.write(f"{sentence}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
