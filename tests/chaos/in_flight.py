"""Waits for work in flight, which is when a fault is injected."""

import signal
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from random import Random
from typing import TypeVar

import psycopg

from shared.errors import BrokerUnavailable
from shared.messaging.rabbitmq.errors import PIKA_ERRORS
from shared.storage.database import DATABASE_ERRORS
from tests.chaos.environment import ChaosEnvironment
from tests.chaos.supervisor import SupervisedProcess

T = TypeVar("T")

LONGER_THAN_HEARTBEAT = 40.0
"""Seconds: a silent peer is noticed after 2 × (12 + 5)."""

LONGER_THAN_DATABASE_TIMEOUT = 20.0
"""Seconds: a connection without a response is closed after 15."""

WAIT_SECONDS = 120.0
"""Seconds until there must be work in flight."""

UNREACHABLE = (
    psycopg.OperationalError,
    *DATABASE_ERRORS,
    HTTPException,
    BrokerUnavailable,
    *PIKA_ERRORS,
)
"""What a query raises while another fault affects the server."""


class NothingInFlight(AssertionError):
    """There was no work in flight that the fault could hit."""


def wait_for_value(look: Callable[[], T | None], *, within: float = WAIT_SECONDS) -> T:
    """Call `look` until it returns something; return that."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            if found := look():
                return found
        except UNREACHABLE:
            pause(0.2)
        pause(0.005)
    raise NothingInFlight


def retry_until_done(act: Callable[[], object]) -> None:
    """Call `act` until it succeeds: another fault may affect the server."""

    def is_done() -> bool:
        try:
            act()
        except AssertionError:
            return False
        return True

    wait_for_value(is_done)


def pause(seconds: float) -> None:
    """Let a fault last for so many seconds."""
    threading.Event().wait(seconds)


def in_flight(environment: ChaosEnvironment) -> str | None:
    """Describe the work in flight; None if there is none."""
    held, writing = environment.unacknowledged(), environment.transactions()
    return f"{held} unacknowledged, {len(writing)} transactions" if held and writing else None


def freeze_in_transaction(environment: ChaosEnvironment, process: SupervisedProcess) -> str:
    """Freeze a process inside a transaction of its handlers; it stays frozen."""

    def look() -> str | None:
        process.signal(signal.SIGSTOP)
        reacting = False
        try:
            reacting = process.popen is not None and environment.is_reacting(process)
        finally:
            if not reacting:
                process.signal(signal.SIGCONT)
        return f"{process.name} in a transaction" if reacting else None

    return wait_for_value(look)


def random_process(
    environment: ChaosEnvironment, random: Random, *excluded: str
) -> SupervisedProcess:
    return random.choice(
        [each for each in environment.supervisor.processes.values() if each.service not in excluded]
    )
