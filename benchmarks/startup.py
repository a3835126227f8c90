"""How long a command takes from a cold start, against Python importing two libraries it needs.

Each is a new process. The shop is embedded and has been set up before, as it is for each command
but the first.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median

from benchmarks.children import ROOT, clean_environment, shop
from benchmarks.comparing import Bench, Comparison, Contestant, Role, WentWrong
from benchmarks.figures import Target
from benchmarks.servers import Servers

REFERENCE = (sys.executable, "-c", "import pydantic, sqlalchemy")
ORDER = ("--email", "c@example.com", "--address", "123 Main St", "--item", "product-1=1")
_PATIENCE = 60
_TIMES = 5
"""In each turn; the median counts, since one start meets whatever else the machine does."""

HELP = Target("≤ 1.0 × the imports", lambda result: (result.ratio_to_limit or 9) <= 1)
PLACE = Target("≤ 2.0 × the imports", lambda result: (result.ratio_to_limit or 9) <= 2)


def measure(bench: Bench, servers: Servers) -> None:
    """Measure both commands, each in turn with the imports."""
    del servers
    times = bench.size(_TIMES)
    with tempfile.TemporaryDirectory() as home:
        environment = clean_environment(SHOP_HOME=home)
        place = shop("orders", "place", *ORDER)
        _run(place, environment)
        imports = Contestant(
            "import pydantic, sqlalchemy",
            Role.LIMIT,
            partial(seconds, REFERENCE, environment, times=times),
        )
        for name, command, target in (
            ("startup", shop("--help"), HELP),
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
    """The median of so many starts."""
    return median(_run(command, environment) for _ in range(times))


def _run(command: Sequence[str], environment: Mapping[str, str]) -> float:
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise WentWrong(f"{command[0]} had not finished after {_PATIENCE} s") from None
    took = time.monotonic() - began
    if done.returncode:
        raise WentWrong(f"{' '.join(command[:3])} failed: {done.stderr.decode()[-200:]}")
    return took
