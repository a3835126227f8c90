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
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        if waited > within:
            raise AssertionError(f"did not come true within {within} s")
        time.sleep(min(0.02 + waited / 10, 0.5))  # a long wait checks less often: checks cost CPU
