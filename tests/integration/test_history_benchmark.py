"""The benchmark of the history, in small: that it measures what it says, never how fast."""

import re
import sys
from pathlib import Path
from subprocess import CompletedProcess, run

from shared.runtime.settings import settings_override


def measure(home: Path, *, events: int, rounds: int) -> "CompletedProcess[str]":
    numbers = ["--events", str(events), "--rounds", str(rounds)]
    command = [sys.executable, "-m", "benchmarks.history", *numbers]
    with settings_override(home=home):
        return run(command, text=True, capture_output=True, check=False, timeout=120)


def test_it_reads_replays_and_tells_all_that_it_made(tmp_path: Path) -> None:
    said = measure(tmp_path, events=400, rounds=2)

    assert said.returncode == 0, said.stderr
    counted = re.findall(r"^(\w.*?) +(\d+) in ", said.stdout, re.MULTILINE)
    assert counted[:2] == [("published", "400"), ("history read", "400")]
    assert counted.count(("consumed live by loyalty", "100")) == 2
    assert counted.count(("consumed replayed by loyalty", "100")) == 2
    assert counted.count(("consumed replayed by analytics", "400")) == 2
    assert ("timeline of one order", "4") in counted
    assert len(re.findall(r"× of the live rate \(", said.stdout)) == 2


def test_a_shop_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    measure(tmp_path, events=4, rounds=1)

    again = measure(tmp_path, events=4, rounds=1)

    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == "this shop has a history: use an empty one\n"
