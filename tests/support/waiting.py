"""Waiting for a condition, with a time limit."""

import time
from collections.abc import Callable


def eventually(condition: Callable[[], object], *, within: float = 20.0) -> None:
    """Wait until the condition holds.

    Args:
        within: seconds to wait.

    Raises:
        AssertionError: it still does not hold.
    """
    until = time.monotonic() + within
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"the condition did not hold within {within} s")
        time.sleep(0.02)  # between two evaluations
