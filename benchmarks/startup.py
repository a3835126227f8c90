"""The duration of a command, compared with Python importing two libraries that it needs.

Each run is a new process. The shop is embedded, and set up before the measurement.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median

from benchmarks.comparison import Bench, Comparison, Contestant, MeasurementFailed, Role
from benchmarks.processes import ROOT, clean_environment, shop_command
from benchmarks.result import Target
from benchmarks.servers import Servers

REFERENCE = (sys.executable, "-c", "import pydantic, sqlalchemy")
ORDER = ("--email", "c@example.com", "--address", "123 Main St", "--item", "product-1=1")
_TIMEOUT = 60
_TIMES = 5
"""Starts in each round; their median counts, since single starts vary."""

HELP = Target("≤ 1.0 × the imports", lambda result: (result.ratio_to_limit or 9) <= 1)
PLACE = Target("≤ 2.0 × the imports", lambda result: (result.ratio_to_limit or 9) <= 2)


def measure(bench: Bench, servers: Servers) -> None:
    """Measure both commands, each compared with the imports."""
    del servers
    times = bench.size(_TIMES)
    with tempfile.TemporaryDirectory() as home:
        environment = clean_environment(SHOP_HOME=home)
        place = shop_command("orders", "place", *ORDER)
        _run(place, environment)
        imports = Contestant(
            "import pydantic, sqlalchemy",
            Role.LIMIT,
            partial(seconds, REFERENCE, environment, times=times),
        )
        for name, command, target in (
            ("startup", shop_command("--help"), HELP),
            ("startup-place", place, PLACE),
        ):
            ours = Contestant(
                "shop --help" if name == "startup" else "shop orders place",
                Role.OURS,
                partial(seconds, command, environment, times=times),
            )
            bench.compare(
                Comparison(
                    name=name,
                    unit="s",
                    target=target,
                    contestants=[ours, imports],
                    less_is_better=True,
                )
            )


def seconds(command: Sequence[str], environment: Mapping[str, str], *, times: int) -> float:
    """The median duration of so many starts."""
    return median(_run(command, environment) for _ in range(times))


def _run(command: Sequence[str], environment: Mapping[str, str]) -> float:
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise MeasurementFailed(f"{command[0]} had not finished after {_TIMEOUT} s") from None
    took = time.monotonic() - began
    if done.returncode:
        raise MeasurementFailed(f"{' '.join(command[:3])} failed: {done.stderr.decode()[-200:]}")
    return took
