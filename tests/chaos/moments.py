"""The moment at which a fault strikes: when there is work in flight."""

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
from tests.chaos import holdings
from tests.chaos.crew import Member
from tests.chaos.site import Site

T = TypeVar("T")

PAST_THE_HEARTBEAT = 40.0
"""Seconds: what is silent is noticed after 2 × (12 + 5)."""

PAST_THE_DATABASE_TIMEOUT = 20.0
"""Seconds: a connection without an answer is given up after 15."""

MOMENT_SECONDS = 120.0
"""Until there must have been something to hit."""

UNREACHABLE = (
    psycopg.OperationalError,
    *DATABASE_ERRORS,
    HTTPException,
    BrokerUnavailable,
    *PIKA_ERRORS,
)
"""What looking raises while another fault has the server."""


class NothingInFlight(AssertionError):
    """There was no moment at which the fault would have hit work in flight."""


def caught(look: Callable[[], T | None], *, within: float = MOMENT_SECONDS) -> T:
    """What it finds, at the moment when it finds something."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            if found := look():
                return found
        except UNREACHABLE:
            hold(0.2)
        hold(0.005)
    raise NothingInFlight


def insisted(act: Callable[[], object]) -> None:
    """Do it, again until it succeeds: another fault may have the server."""

    def is_done() -> bool:
        try:
            act()
        except AssertionError:
            return False
        return True

    caught(is_done)


def hold(seconds: float) -> None:
    """Let a fault last."""
    threading.Event().wait(seconds)


def in_flight(site: Site) -> str | None:
    """What services have under way, if it is more than nothing."""
    held, writing = site.unacknowledged(), site.transactions()
    return f"{held} unacknowledged, {len(writing)} transactions" if held and writing else None


def frozen_reacting(site: Site, member: Member) -> str:
    """Freeze a process inside a transaction of its handlers; it is left frozen."""

    def look() -> str | None:
        member.signal(signal.SIGSTOP)
        reacting = False
        try:
            reacting = member.process is not None and site.is_reacting(member)
        finally:
            if not reacting:
                member.signal(signal.SIGCONT)
        return f"{member.name} in a transaction" if reacting else None

    return caught(look)


def anybody(site: Site, mix: Random, *but: str) -> Member:
    return mix.choice([each for each in site.crew.members.values() if each.service not in but])


def dead_ids(site: Site, service: str) -> list[str]:
    url = site.settings["SHOP_BROKER_URL"]
    return list(holdings.rabbitmq(url, [service], expected=set(), left=[]).dead[service])
