"""The history benchmark at a small scale: its work is verified; its times are not tested."""

import re
import sys
from pathlib import Path
from subprocess import CompletedProcess, run

from shared.runtime.settings import settings_override


def measure(home: Path, *, events: int, rounds: int) -> "CompletedProcess[str]":
    numbers = ["--events", str(events), "--rounds", str(rounds)]
    command = [sys.executable, "-m", "benchmarks.history", *numbers]
    with settings_override(home=home):
        return run(command, text=True, capture_output=True, check=False, timeout=170)


def test_it_reads_and_replays_all_events_that_it_published(tmp_path: Path) -> None:
    done = measure(tmp_path, events=400, rounds=2)

    assert done.returncode == 0, done.stderr
    counted = re.findall(r"^(\w.*?) +(\d+) in ", done.stdout, re.MULTILINE)
    assert counted[:2] == [("published", "400"), ("history read", "400")]
    assert counted.count(("consumed live by loyalty", "100")) == 2
    assert counted.count(("consumed replayed by loyalty", "100")) == 2
    assert counted.count(("consumed replayed by analytics", "400")) == 2
    assert ("timeline of one order", "4") in counted
    assert len(re.findall(r"× of the live rate \(", done.stdout)) == 2


def test_a_shop_that_has_a_history_is_not_changed(tmp_path: Path) -> None:
    measure(tmp_path, events=4, rounds=1)

    again = measure(tmp_path, events=4, rounds=1)

    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == "this shop has a history: use an empty one\n"
