"""What a service's threads are at, for the supervisor that ends a handler past its deadline."""

import threading
import time
from typing import NamedTuple

from shared.messaging.port import Delivery


class Step(NamedTuple):
    """What a thread does at present.

    Attributes:
        since: monotonic time.
        delivery: whose handler is running, if one is.
    """

    since: float
    delivery: Delivery | None


class Watch:
    """The steps under way, one for each thread that is not idle."""

    def __init__(self) -> None:
        self._steps: dict[int, Step] = {}

    def step(self, delivery: Delivery | None = None) -> None:
        """A new step begins in this thread."""
        self._steps[threading.get_ident()] = Step(time.monotonic(), delivery)

    def idle(self) -> None:
        """Nothing is under way in this thread."""
        self._steps.pop(threading.get_ident(), None)

    @property
    def longest(self) -> Step | None:
        """The step that has taken longest; None while all are idle."""
        steps = list(self._steps.values())
        return min(steps, key=lambda step: step.since, default=None)
