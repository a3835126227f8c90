"""Faults of processes, and of the network between them and the servers."""

import signal
from collections.abc import Callable
from random import Random

import psycopg
from sqlalchemy import func, select

from shared.storage.tables import inbox
from tests.chaos import servers
from tests.chaos.moments import (
    PAST_THE_DATABASE_TIMEOUT,
    PAST_THE_HEARTBEAT,
    UNREACHABLE,
    anybody,
    caught,
    frozen_reacting,
    hold,
)
from tests.chaos.site import Site
from tests.support.waiting import eventually


def kill_before_commit(site: Site, mix: Random) -> str:
    victim = anybody(site, mix)
    hit = frozen_reacting(site, victim)
    site.crew.end(victim, signal.SIGKILL)
    return hit


def kill_before_acknowledgement(site: Site, mix: Random) -> str:
    """Its acknowledgements cannot pass any more; after the next commit it is killed."""
    victim = mix.choice([site.crew.members[name] for name in ("shipping", "analytics", "loyalty")])
    gate = site.ways[victim.name]["broker"]

    def look() -> str | None:
        if not site.unacknowledged(victim.service):
            return None
        site.gates.cut(gate, "up")
        before = _handled(site, victim.service)
        eventually(lambda: _handled(site, victim.service) > before, within=3)
        victim.signal(signal.SIGSTOP)
        committed = _handled(site, victim.service) - before
        held = site.unacknowledged(victim.service)
        return f"{victim.name}: {committed} committed, {held} unacknowledged" if held else None

    def look_again() -> str | None:
        hit = _or_none(look)
        if hit is None:
            victim.signal(signal.SIGCONT)
            site.gates.heal(gate)
            hold(0.2)
        return hit

    try:
        hit = caught(look_again)
        site.crew.end(victim, signal.SIGKILL)
    finally:
        site.gates.half_open(gate)  # what it wrote last is lost with it
        site.gates.heal(gate)
        victim.signal(signal.SIGCONT)
    return hit


def _or_none(look: Callable[[], str | None]) -> str | None:
    try:
        return look()
    except (AssertionError, *UNREACHABLE):
        return None


def kill_relay_before_mark(site: Site, mix: Random) -> str:
    """A lock lets the relay claim and publish, and makes it wait where it would mark."""
    del mix
    victim = site.crew.members["orders"]

    def look() -> str | None:
        url = servers.database_url(site.postgres, "orders")
        with psycopg.connect(url, connect_timeout=2) as locking:
            with site.crew.frozen(victim):
                eventually(lambda: _unsent(site) > 0, within=5)
                locking.execute("SET lock_timeout = '1s'")
                locking.execute("LOCK TABLE outbox IN SHARE MODE")
            count = _marking(site)
            site.crew.end(victim, signal.SIGKILL)
            locking.rollback()
        return f"{count} claimed, at the mark of those that were confirmed"

    return caught(lambda: _or_none(look))


def _unsent(site: Site) -> int:
    return _count(site, "SELECT count(*) FROM outbox WHERE sent_at IS NULL")


def _count(site: Site, query: str) -> int:
    return int(site.admin(query, database="orders")[0][0])


def _marking(site: Site) -> int:
    """How many rows a relay has claimed, while it waits to mark some of them."""
    eventually(
        lambda: site.admin(
            """SELECT 1 FROM pg_stat_activity WHERE datname = 'orders'
            AND application_name = 'orders' AND wait_event_type = 'Lock'
            AND query LIKE 'UPDATE outbox%'"""
        ),
        within=5,
    )
    free = _count(
        site,
        """SELECT count(*) FROM
        (SELECT 1 FROM outbox WHERE sent_at IS NULL FOR KEY SHARE SKIP LOCKED) AS free""",
    )
    claimed = _unsent(site) - free
    assert claimed > 0
    return claimed


def terminate_each(site: Site, mix: Random) -> str:
    codes = []
    for member in mix.sample(list(site.crew.members.values()), len(site.crew.members)):
        frozen_reacting(site, member)
        codes.append(site.crew.end(member, signal.SIGTERM))
    return f"{len(codes)} processes, each in a transaction; exit codes {sorted(set(codes))}"


def freeze_consumer(site: Site, mix: Random) -> str:
    victim = anybody(site, mix, "orders")
    hit = frozen_reacting(site, victim)
    try:
        hold(PAST_THE_HEARTBEAT)
    finally:
        victim.signal(signal.SIGCONT)
    return hit


def _handled(site: Site, service: str) -> int:
    with site.databases[service].read() as connection:
        return connection.execute(select(func.count()).select_from(inbox)).scalar_one()


def cut_from_broker(site: Site, mix: Random) -> str:
    return _cut(site, mix, lambda gates, gate: gates.cut(gate, "up", "down"))


def deafen_to_broker(site: Site, mix: Random) -> str:
    return _cut(site, mix, lambda gates, gate: gates.cut(gate, "down"))


def half_open_to_broker(site: Site, mix: Random) -> str:
    return _cut(site, mix, lambda gates, gate: gates.half_open(gate))


def _cut(site: Site, mix: Random, sever: Callable[..., None]) -> str:
    victim = anybody(site, mix)
    gate = site.ways[victim.name]["broker"]
    hit = frozen_reacting(site, victim)  # so what it reacts to is unacknowledged
    try:
        sever(site.gates, gate)
        victim.signal(signal.SIGCONT)
        hold(PAST_THE_HEARTBEAT)
    finally:
        victim.signal(signal.SIGCONT)
        site.gates.heal(gate)
    return hit


def cut_from_database(site: Site, mix: Random) -> str:
    victim = anybody(site, mix)
    gate = site.ways[victim.name]["database"]

    def look() -> str | None:
        site.gates.cut(gate, "up", "down")
        if site.is_reacting(victim):
            return f"{victim.name} in a transaction"
        site.gates.heal(gate)
        return None

    try:
        hit = caught(look)
        hold(PAST_THE_DATABASE_TIMEOUT)
    finally:
        site.gates.heal(gate)
    return hit
