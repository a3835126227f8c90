"""Retries while a broker or a database is away; every thread of a service uses it."""

import threading
from collections.abc import Callable

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    retry_if_not_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)

from shared.runtime.logs import Log
from shared.storage import failures

Errors = tuple[type[BaseException], ...]

MAX_DELAY = 30.0
_FIRST_DELAY = 0.5


def delay_after(number: int) -> float:
    """Seconds to wait after this number of failures in a row: none at first, then twice as long."""
    return min(MAX_DELAY, _FIRST_DELAY * 2.0 ** min(number - 1, 10)) if number else 0.0


def retry_until_stopped(
    attempt: Callable[[], object],
    *,
    on: Errors,
    never_on: Errors = (),
    stopping: threading.Event,
    log: Log,
) -> None:
    """Call `attempt` until it succeeds or `stopping` is set, and log each failed call.

    The delay between two calls is random, grows exponentially and is at most 30 seconds.

    Args:
        on: errors after which it is called again; any other error is raised.
        never_on: subclasses of those that are raised too.
    """

    def log_retry(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        delay = state.next_action.sleep if state.next_action else 0.0
        if error is not None:
            name, message, _ = failures.describe(error)
            log.warning("retrying", error=name, reason=message, delay=round(delay, 1))

    retrying = Retrying(
        retry=retry_if_exception_type(on) & retry_if_not_exception_type(never_on),
        wait=wait_random_exponential(multiplier=_FIRST_DELAY, max=MAX_DELAY),
        sleep=sleep_using_event(stopping),
        stop=stop_when_event_set(stopping),
        before_sleep=log_retry,
        retry_error_callback=lambda _: None,
    )
    retrying(attempt)
