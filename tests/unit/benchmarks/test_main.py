import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks import processes
from benchmarks.comparison import MeasurementFailed, Unavailable
from benchmarks.processes import running_process, wait_for

ROOT = Path(__file__).parents[3]


def test_an_unknown_name_is_refused_with_the_known_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert program.main(["raect"]) == 2

    output = capsys.readouterr().err
    assert output.startswith("there is no benchmark 'raect'; there are relay, react,")
    assert output.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--scale", "0"], ["--rounds", "0"]], ids=str)
def test_a_scale_or_rounds_of_zero_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(arguments) == 2

    assert "should be" in capsys.readouterr().err


def test_without_docker_the_error_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")

    assert program.main(["react"]) == 1

    assert capsys.readouterr().err.endswith("this needs a Docker engine, and none answers\n")


@pytest.mark.parametrize(
    "installed", [None, sys.executable], ids=["no environment", "a package missing"]
)
def test_a_peer_that_is_not_installed_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: str | None
) -> None:
    monkeypatch.setattr(processes, "_PEERS_PYTHON", Path(installed or tmp_path / "python"))

    with pytest.raises(Unavailable) as raised:
        processes.peers_python("json", "no_such_module")

    assert str(raised.value) == "not installed: make bench installs requirements-peers.txt"


@pytest.mark.skipif(shutil.which("ps") is None, reason="needs the program ps")
def test_a_program_and_its_children_end_with_the_measurement(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "import pathlib, subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)']);"
        f"pathlib.Path({str(pid_file)!r}).write_text(str(child.pid)); time.sleep(100)"
    )

    with running_process([sys.executable, "-c", code], {}) as (child, check):
        wait_for(
            lambda: pid_file.exists() and bool(pid_file.read_text()),
            seconds=20,
            what="it",
            check=check,
        )

    assert child.returncode == -signal.SIGTERM
    wait_for(lambda: not _is_running(pid_file.read_text()), seconds=20, what="its child ends")


def test_the_error_of_a_program_that_ends_unexpectedly_is_quoted() -> None:
    code = "import sys; sys.exit('no such broker')"

    with (
        running_process([sys.executable, "-c", code], {}) as (_, check),
        pytest.raises(MeasurementFailed, match=r"ended unexpectedly \(1\): no such broker"),
    ):
        wait_for(lambda: False, seconds=20, what="never", check=check)


DROPPED = """
import os, signal, time
from benchmarks.__main__ import _interruptible

class Object:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)  # Python prints an exception raised here and drops it

cleaned = False
try:
    with _interruptible():
        try:
            held = Object()
            del held
            time.sleep(20)
        finally:
            os.kill(os.getpid(), signal.SIGINT)  # a second interruption
            time.sleep(1)  # longer than until it would be raised again
            cleaned = True
except KeyboardInterrupt:
    print("interrupted", cleaned)
"""


def test_an_interruption_is_neither_lost_nor_interrupts_the_clean_up() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DROPPED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "Exception ignored" in done.stderr  # so it was dropped once
    assert done.stdout == "interrupted True\n"


def _is_running(pid: str) -> bool:
    # A zombie has ended; only its parent has not read its exit code.
    state = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, check=False)
    return state.stdout.strip()[:1] not in (b"", b"Z")
