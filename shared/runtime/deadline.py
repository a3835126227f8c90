"""Settles the deliveries of a process in which a handler exceeds its deadline."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

from shared.errors import DeadlineExceeded
from shared.messaging.ports.consumer import Consumer, Outcome
from shared.runtime.attempts import record_failure
from shared.runtime.logs import Log
from shared.runtime.reactor import Reactor
from shared.runtime.watchdog import Overrun
from shared.storage import failures

PROBE_SECONDS = 5.0


def abandon(
    overrun: Overrun, consumer: Consumer, *, reactor: Reactor, deadline: float, log: Log
) -> None:
    """Count a failed attempt for the delivery of a hung handler, and requeue all others.

    If a dependency is away, the attempt is not counted either. The process must end after this,
    because a thread cannot be ended alone.
    """
    delivery = overrun.delivery
    if delivery is not None and _succeeds_in_time(reactor.ping):
        reason = f"the handler took more than {deadline:g} s"
        timeout = failures.ErrorDescription(DeadlineExceeded.__name__, reason, overrun.stack)
        outcome = failures.DEAD if reactor.is_last_attempt(delivery) else failures.RETRIED
        if not _succeeds_in_time(
            lambda: record_failure(reactor.database, delivery, timeout, outcome=outcome)
        ):
            # In a SQLite file, the transaction of the hung handler holds the lock.
            log.warning("failed attempt not recorded", reason=reason, stack=timeout.stack)
        consumer.settle([(delivery, Outcome.RETRY)])
    consumer.close()


def _succeeds_in_time(action: Callable[[], object]) -> bool:
    future = ThreadPoolExecutor(1).submit(action)
    wait([future], PROBE_SECONDS)
    return future.done() and future.exception() is None
