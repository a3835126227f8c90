import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks import children
from benchmarks.children import started, wait_for
from benchmarks.comparing import NotThere, WentWrong

ROOT = Path(__file__).parents[3]


def test_an_unknown_name_is_refused_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert program.main(["raect"]) == 2

    said = capsys.readouterr().err
    assert said.startswith("there is no benchmark 'raect'; there are relay, react,")
    assert said.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--scale", "0"], ["--rounds", "0"]], ids=str)
def test_no_size_and_no_rounds_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(arguments) == 2

    assert "should be" in capsys.readouterr().err


def test_without_docker_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")

    assert program.main(["react"]) == 1

    assert capsys.readouterr().err.endswith("this needs a Docker engine, and none answers\n")


@pytest.mark.parametrize("installed", [None, sys.executable], ids=["not at all", "not all of them"])
def test_peers_that_are_not_installed_are_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: str | None
) -> None:
    monkeypatch.setattr(children, "_PEERS_PYTHON", Path(installed or tmp_path / "python"))

    with pytest.raises(NotThere) as raised:
        children.peers_python("json", "no_such_module")

    assert str(raised.value) == "not installed: make bench installs requirements-peers.txt"


def test_a_program_and_what_it_started_end_with_the_measurement(tmp_path: Path) -> None:
    left = tmp_path / "left"
    code = (
        "import pathlib, subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)']);"
        f"pathlib.Path({str(left)!r}).write_text(str(child.pid)); time.sleep(100)"
    )

    with started([sys.executable, "-c", code], {}) as (child, check):
        wait_for(
            lambda: left.exists() and bool(left.read_text()), seconds=20, what="it", check=check
        )

    assert child.returncode == -signal.SIGTERM
    wait_for(lambda: not _lives(left.read_text()), seconds=20, what="its child ends")


def test_a_program_that_ends_by_itself_is_quoted() -> None:
    code = "import sys; sys.exit('no such broker')"

    with (
        started([sys.executable, "-c", code], {}) as (_, check),
        pytest.raises(WentWrong, match=r"ended by itself \(1\): no such broker"),
    ):
        wait_for(lambda: False, seconds=20, what="never", check=check)


FORGOTTEN = """
import os, signal, time
from benchmarks.__main__ import _interruptible

class Object:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)  # where Python prints what is raised, and forgets it

cleaned = False
try:
    with _interruptible():
        try:
            held = Object()
            del held
            time.sleep(20)
        finally:
            os.kill(os.getpid(), signal.SIGINT)  # somebody who has no patience
            time.sleep(1)  # beyond the time at which it would be raised again
            cleaned = True
except KeyboardInterrupt:
    print("interrupted", cleaned)
"""


def test_an_interruption_is_not_forgotten_and_does_not_spoil_the_cleaning() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORGOTTEN],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "Exception ignored" in done.stderr  # so it was forgotten once
    assert done.stdout == "interrupted True\n"


def _lives(pid: str) -> bool:
    # A zombie has ended: it only waits for the process that has adopted it.
    state = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, check=False)
    return state.stdout.strip()[:1] not in (b"", b"Z")
