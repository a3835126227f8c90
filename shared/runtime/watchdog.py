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


class Overrun(NamedTuple):
    """A step that took too long, as it was at one moment: it may have ended since.

    Attributes:
        delivery: the delivery whose handler was running; None if no handler was.
        stack: what its thread was executing.
    """

    delivery: Delivery | None
    stack: str


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

    def overrun(self, deadline: float) -> Overrun | None:
        """The step that has taken longest, if that is more than the deadline in seconds.

        The caller must pass it on and not look again: when a slow handler ends in between, a second
        look would find the next delivery.
        """
        step = min(list(self._steps.values()), key=lambda step: step.started_at, default=None)
        if step is None or time.monotonic() - step.started_at <= deadline:
            return None
        frame = sys._current_frames().get(step.thread)  # noqa: SLF001 - documented in `sys`
        return Overrun(step.delivery, "".join(traceback.format_stack(frame)) if frame else "")
