"""What a service's threads are at, for the supervisor that ends a handler past its deadline."""

import sys
import threading
import time
import traceback
from typing import NamedTuple

from shared.messaging.ports.consumer import Delivery


class Step(NamedTuple):
    """What a thread does at present.

    Attributes:
        since: monotonic time.
        thread: by its ident.
        delivery: whose handler is running, if one is.
    """

    since: float
    thread: int
    delivery: Delivery | None

    @property
    def stack(self) -> str:
        """Where its thread is now."""
        frame = sys._current_frames().get(self.thread)  # noqa: SLF001 - the documented way to it
        return "".join(traceback.format_stack(frame)) if frame else ""


class Watchdog:
    """The steps under way, one for each thread that is not idle."""

    def __init__(self) -> None:
        self._steps: dict[int, Step] = {}

    def step(self, delivery: Delivery | None = None) -> None:
        """A new step begins in this thread."""
        thread = threading.get_ident()
        self._steps[thread] = Step(time.monotonic(), thread, delivery)

    def idle(self) -> None:
        """Nothing is under way in this thread."""
        self._steps.pop(threading.get_ident(), None)

    @property
    def longest(self) -> Step | None:
        """The step that has taken longest; None while all are idle."""
        steps = list(self._steps.values())
        return min(steps, key=lambda step: step.since, default=None)
