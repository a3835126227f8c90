"""Runs the measured programs, each as a process that is always ended."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.comparison import MeasurementFailed, Unavailable

ROOT = Path(__file__).parent.parent
PEERS = ROOT / "benchmarks" / "peers"
_PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
_GRACE = 15

ChildProcess = subprocess.Popen[bytes]


def peers_python(*needed: str) -> str:
    """The path of the Python interpreter that has the peers' packages.

    Raises:
        Unavailable: a package is not installed.
    """
    how = "not installed: make bench installs requirements-peers.txt"
    if not _PEERS_PYTHON.exists():
        raise Unavailable(how)
    code = f"import importlib.util as u; exit(not all(map(u.find_spec, {list(needed)})))"
    if subprocess.run([str(_PEERS_PYTHON), "-c", code], check=False).returncode:
        raise Unavailable(how)
    return str(_PEERS_PYTHON)


def clean_environment(**added: str) -> dict[str, str]:
    """This process's environment without SHOP_ variables, with these added."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SHOP_")}
    return kept | added


@contextmanager
def running_process(
    command: Sequence[str], environment: Mapping[str, str], *, cwd: Path = ROOT
) -> Iterator[tuple[ChildProcess, Callable[[], None]]]:
    """Run a program in a process group of its own; end the group after the block.

    Yields:
        The process, and a check that raises MeasurementFailed with the last line of its output
        once it has ended.
    """
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=cwd,
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
        )

        def check() -> None:
            if child.poll() is not None:
                output.seek(0)
                last_line = output.read().decode(errors="replace").strip().splitlines()[-1:]
                raise MeasurementFailed(
                    f"ended unexpectedly ({child.returncode}): {' '.join(last_line)}"
                )

        try:
            yield child, check
        finally:
            stop_process(child)


def stop_process(child: ChildProcess) -> None:
    """Stop a process and its group by SIGTERM, or by SIGKILL after the grace period."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        try:
            child.wait(_GRACE)
        except subprocess.TimeoutExpired:
            continue
        break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # what is left of its group


def json_output(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    seconds: float,
    cwd: Path = ROOT,
) -> dict[str, Any]:
    """Run a program; return the JSON object on the last line of its output.

    Raises:
        MeasurementFailed: it failed or took longer.
    """
    child = subprocess.Popen(
        command,
        env=dict(environment),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = child.communicate(timeout=seconds)
        if child.returncode:
            output = " / ".join(err.decode(errors="replace").strip().splitlines()[-1:])
            raise MeasurementFailed(f"failed ({child.returncode}): {output}")
        answered: dict[str, Any] = json.loads(out.decode().strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise MeasurementFailed(f"had not finished after {seconds:.0f} s") from None
    finally:
        stop_process(child)
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
    return answered


def shop_command(*arguments: str) -> list[str]:
    """The installed `shop` command with these arguments."""
    return [str(Path(sys.executable).with_name("shop")), *arguments]


def wait_for(
    condition: Callable[[], bool],
    *,
    seconds: float,
    what: str,
    check: Callable[[], None] = lambda: None,
    every: float = 0.2,
) -> None:
    """Wait until a condition holds.

    Args:
        check: called between checks of the condition; raises to stop waiting.

    Raises:
        MeasurementFailed: the condition did not hold within that time.
    """
    until = time.monotonic() + seconds
    while not condition():
        check()
        if time.monotonic() > until:
            raise MeasurementFailed(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)
