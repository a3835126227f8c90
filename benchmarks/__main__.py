"""`python -m benchmarks`: measures, and writes down what it measured; `make bench` starts it."""

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
from benchmarks.comparing import Bench, WentWrong
from benchmarks.figures import RESULTS
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
)
"""Each is a module here with `measure(bench, servers)`."""

INTERRUPTED = 130

_AGAIN_AFTER = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for.

    Returns:
        The exit code: 2 for wrong input, 1 for what could not be done, 130 when interrupted.
    """
    wanted = _parser().parse_args(arguments)
    unknown = [name for name in wanted.only if name not in NAMES]
    if unknown:
        return _fail(f"there is no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}", 2)
    if not wanted.scale > 0 or wanted.rounds < 1:
        return _fail("SCALE should be above 0 and ROUNDS at least 1", 2)
    bench = Bench(rounds=wanted.rounds, scale=wanted.scale, results=wanted.results, say=_sayer())
    try:
        with _interruptible():
            return _measure(bench, wanted.only or NAMES)
    except KeyboardInterrupt:
        return _fail(
            "interrupted; what was measured is kept, and nothing is left running", INTERRUPTED
        )
    except NoDocker as error:
        return _fail(str(error), 1)


def _measure(bench: Bench, names: Sequence[str]) -> int:
    failed = 0
    bench.say("starting RabbitMQ and PostgreSQL")
    with running() as servers:
        machine = report.machine(servers.versions())
        bench.say(report.sentence(machine))
        try:
            for name in names:
                try:
                    importlib.import_module(f"benchmarks.{name}").measure(bench, servers)
                except (WentWrong, ShopError) as error:
                    failed = _fail(f"{name}: {error}", 1)
        finally:
            if bench.kept:
                report.write(bench.results, machine)
                bench.say(f"written to {bench.results}")
    if bench.kept:
        sys.stdout.write("\n" + report.table(bench.kept))
    return failed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("only", nargs="*", help=f"one of {', '.join(NAMES)}; all by default")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (3)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of all sizes; 1 is what the targets speak of"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the results")
    return parser


def _sayer() -> "Progress":
    return Progress(time.monotonic())


class Progress:
    """Says how far it is, on standard error, so that the table alone is on standard output."""

    def __init__(self, began: float) -> None:
        self._began = began

    def __call__(self, sentence: str) -> None:
        """Say it, with the seconds since the start."""
        passed = time.monotonic() - self._began
        sys.stderr.write(f"{passed:6.0f} s  {sentence}\n")
        sys.stderr.flush()


@contextmanager
def _interruptible() -> Iterator[None]:
    """End in good order at the first SIGINT or SIGTERM; a second must not spoil the cleaning."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        if _is_ending(sys.exception()):
            return
        if number != signal.SIGALRM:
            sys.stderr.write("\nending: stopping what runs and removing the containers\n")
        # Raised while Python lets go of an object, it is printed and forgotten: then once more.
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_AFTER)
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
    """Whether an interruption is being handled, be it that something went wrong meanwhile."""
    while handled is not None and not isinstance(handled, KeyboardInterrupt):
        handled = handled.__context__
    return handled is not None


def _fail(sentence: str, code: int) -> int:
    sys.stderr.write(f"{sentence}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
