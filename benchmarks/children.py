"""Programs that are measured: each a process of its own, ended whatever happens."""

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

from benchmarks.comparing import NotThere, WentWrong

ROOT = Path(__file__).parent.parent
PEERS = ROOT / "benchmarks" / "peers"
_PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
_GRACE = 15

Child = subprocess.Popen[bytes]


def peers_python(*needed: str) -> str:
    """The interpreter of the peers.

    Raises:
        NotThere: they are not installed, or not all of them.
    """
    how = "not installed: make bench installs requirements-peers.txt"
    if not _PEERS_PYTHON.exists():
        raise NotThere(how)
    code = f"import importlib.util as u; exit(not all(map(u.find_spec, {list(needed)})))"
    if subprocess.run([str(_PEERS_PYTHON), "-c", code], check=False).returncode:
        raise NotThere(how)
    return str(_PEERS_PYTHON)


def clean_environment(**added: str) -> dict[str, str]:
    """This one without SHOP_ variables, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SHOP_")}
    return kept | added


@contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str], *, cwd: Path = ROOT
) -> Iterator[tuple[Child, Callable[[], None]]]:
    """A program at work, in a process group of its own, ended with all that it started.

    Yields:
        The process, and a check that raises WentWrong, with its last words, once it has ended.
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
                said = output.read().decode(errors="replace").strip().splitlines()[-1:]
                raise WentWrong(f"ended by itself ({child.returncode}): {' '.join(said)}")

        try:
            yield child, check
        finally:
            end(child)


def end(child: Child) -> None:
    """Ask it to end, and see that it does."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        try:
            child.wait(_GRACE)
        except subprocess.TimeoutExpired:
            continue
        break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # what it left behind in its group


def answer(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    seconds: float,
    cwd: Path = ROOT,
) -> dict[str, Any]:
    """What a program says, as JSON on its last line.

    Raises:
        WentWrong: it failed, or took longer.
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
            said = " / ".join(err.decode(errors="replace").strip().splitlines()[-1:])
            raise WentWrong(f"failed ({child.returncode}): {said}")
        answered: dict[str, Any] = json.loads(out.decode().strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise WentWrong(f"had not finished after {seconds:.0f} s") from None
    finally:
        end(child)
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
    return answered


def shop(*arguments: str) -> list[str]:
    """Our command line, as it is installed."""
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
        check: raises when waiting is in vain.

    Raises:
        WentWrong: it did not within that time.
    """
    until = time.monotonic() + seconds
    while not condition():
        check()
        if time.monotonic() > until:
            raise WentWrong(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)
