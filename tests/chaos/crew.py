"""The services as processes, restarted when they end, as `restart: unless-stopped` does."""

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

LOOK_EVERY = 0.05
RESTART_AFTER = 0.2


@dataclass(slots=True, kw_only=True)
class Member:
    """One process.

    Attributes:
        name: its own, such as `inventory-2`.
        started: how often.
        codes: with which it ended, each time.
    """

    name: str
    service: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    started: int = 0
    codes: list[int] = field(default_factory=list)
    ended_at: float = 0.0

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdout=log, stderr=log
            )
        self.started += 1

    def signal(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)


class Crew:
    """All of them, and who restarts them."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = {each.name: each for each in members}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self) -> None:
        for each in self.members.values():
            each.start()
        self._thread.start()

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_EVERY):
            for each in self.members.values():
                self._look_at(each)

    @staticmethod
    def _look_at(member: Member) -> None:
        if member.process is None:
            if time.monotonic() - member.ended_at > RESTART_AFTER:
                member.start()
        elif (code := member.process.poll()) is not None:
            member.codes.append(code)
            member.process, member.ended_at = None, time.monotonic()

    def of(self, service: str) -> list[Member]:
        return [each for each in self.members.values() if each.service == service]

    @contextmanager
    def frozen(self, member: Member) -> "Iterator[None]":
        """Stopped where it is, during the block."""
        member.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            member.signal(signal.SIGCONT)

    def end(self, member: Member, number: int) -> int:
        """End it by a signal and wait for the next; answers the exit code."""
        times, started = len(member.codes), member.started
        member.signal(number)
        member.signal(signal.SIGCONT)
        eventually(lambda: len(member.codes) > times and member.started > started, within=40)
        return member.codes[times]

    def stop(self) -> dict[str, int]:
        """End all in good order; answers who did not end with 0, and how."""
        self._stopping.set()
        self._thread.join(5)
        living = [each for each in self.members.values() if each.process is not None]
        for each in living:
            each.signal(signal.SIGTERM)
        codes = {each.name: self._code(each) for each in living}
        return {name: code for name, code in codes.items() if code}

    @staticmethod
    def _code(member: Member) -> int:
        assert member.process is not None
        try:
            return member.process.wait(30)
        except subprocess.TimeoutExpired:
            member.process.kill()
            return member.process.wait(10)
