"""Runs services as processes and restarts them, as `restart: unless-stopped` does."""

import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

POLL_SECONDS = 0.05
RESTART_DELAY = 0.2


@dataclass(slots=True, kw_only=True)
class SupervisedProcess:
    """A service's process.

    Attributes:
        name: the process's own name, such as `inventory-2`.
        started: how often it was started.
        exit_codes: the exit code of each time it ended.
        popen: None while it is not running.
    """

    name: str
    service: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    popen: "subprocess.Popen[bytes] | None" = None
    started: int = 0
    exit_codes: list[int] = field(default_factory=list)
    ended_at: float = 0.0

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                self.command, env=self.environment, stdout=log, stderr=log
            )
        self.started += 1

    def signal(self, number: int) -> None:
        if self.popen is not None:
            self.popen.send_signal(number)


class Supervisor:
    """Starts, watches, restarts and stops processes."""

    def __init__(self, processes: Sequence[SupervisedProcess]) -> None:
        self.processes = {each.name: each for each in processes}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self) -> None:
        for each in self.processes.values():
            each.start()
        self._thread.start()

    def _watch(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            for each in self.processes.values():
                self._check(each)

    @staticmethod
    def _check(process: SupervisedProcess) -> None:
        if process.popen is None:
            if time.monotonic() - process.ended_at > RESTART_DELAY:
                process.start()
        elif (code := process.popen.poll()) is not None:
            process.exit_codes.append(code)
            process.popen, process.ended_at = None, time.monotonic()

    def of(self, service: str) -> list[SupervisedProcess]:
        return [each for each in self.processes.values() if each.service == service]

    @contextmanager
    def frozen(self, process: SupervisedProcess) -> "Iterator[None]":
        """Freeze the process during the block."""
        process.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.signal(signal.SIGCONT)

    def end(self, process: SupervisedProcess, number: int) -> int:
        """End a process by a signal and wait until it is restarted; return the exit code."""
        times, started = len(process.exit_codes), process.started
        process.signal(number)
        process.signal(signal.SIGCONT)
        eventually(lambda: len(process.exit_codes) > times and process.started > started, within=40)
        return process.exit_codes[times]

    def stop(self) -> dict[str, int]:
        """Stop all processes; return the exit codes other than 0, by name."""
        self._stopping.set()
        self._thread.join(5)
        living = [each for each in self.processes.values() if each.popen is not None]
        for each in living:
            each.signal(signal.SIGTERM)
        exit_codes = {each.name: self._code(each) for each in living}
        return {name: code for name, code in exit_codes.items() if code}

    @staticmethod
    def _code(process: SupervisedProcess) -> int:
        assert process.popen is not None
        try:
            return process.popen.wait(30)
        except subprocess.TimeoutExpired:
            process.popen.kill()
            return process.popen.wait(10)
