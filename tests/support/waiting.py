"""Waiting on a condition, with a deadline."""

import time
from collections.abc import Callable


def eventually(condition: Callable[[], object], *, within: float = 20.0) -> None:
    """Wait until the condition holds.

    Args:
        within: seconds until it is a failure.
    """
    until = time.monotonic() + within
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"did not come true within {within} s")
        time.sleep(0.02)  # between two looks
