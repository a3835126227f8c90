"""Records what the threads of a service do, for the supervisor that enforces the deadline."""

import sys
import threading
import time
import traceback
from typing import NamedTuple

from shared.messaging.ports.consumer import Delivery


class Step(NamedTuple):
    """What a thread is doing.

    Attributes:
        started_at: seconds of the monotonic clock.
        delivery: the delivery whose handler is running; None if no handler is.
    """

    started_at: float
    thread: int
    delivery: Delivery | None

    @property
    def seconds(self) -> float:
        """The duration so far."""
        return time.monotonic() - self.started_at

    @property
    def stack(self) -> str:
        """The current stack of the thread."""
        frame = sys._current_frames().get(self.thread)  # noqa: SLF001 - documented in `sys`
        return "".join(traceback.format_stack(frame)) if frame else ""


class Watchdog:
    """The current step of each thread that is not idle."""

    def __init__(self) -> None:
        self._steps: dict[int, Step] = {}

    def step(self, delivery: Delivery | None = None) -> None:
        """Note that the calling thread begins a step."""
        thread = threading.get_ident()
        self._steps[thread] = Step(time.monotonic(), thread, delivery)

    def idle(self) -> None:
        """Note that the calling thread is idle."""
        self._steps.pop(threading.get_ident(), None)

    @property
    def longest(self) -> Step | None:
        """The step that has taken longest; None if all threads are idle."""
        return min(list(self._steps.values()), key=lambda step: step.started_at, default=None)
