"""Faults of processes, and of the network between them and the servers."""

import signal
from collections.abc import Callable
from random import Random

import psycopg

from tests.chaos import servers
from tests.chaos.environment import ChaosEnvironment
from tests.chaos.in_flight import (
    LONGER_THAN_DATABASE_TIMEOUT,
    LONGER_THAN_HEARTBEAT,
    UNREACHABLE,
    freeze_in_transaction,
    pause,
    random_process,
    wait_for_value,
)
from tests.support.waiting import eventually


def kill_before_commit(environment: ChaosEnvironment, random: Random) -> str:
    victim = random_process(environment, random)
    hit = freeze_in_transaction(environment, victim)
    environment.supervisor.end(victim, signal.SIGKILL)
    return hit


def kill_before_acknowledgement(environment: ChaosEnvironment, random: Random) -> str:
    """Block its acknowledgements, and kill it after its next commit."""
    victim = random.choice(
        [environment.supervisor.processes[name] for name in ("shipping", "analytics", "loyalty")]
    )
    proxy = environment.proxy_of[victim.name]["broker"]

    def look() -> str | None:
        if not environment.unacknowledged(victim.service):
            return None
        environment.proxies.cut(proxy, "up")
        before = environment.handled(victim.service)
        eventually(lambda: environment.handled(victim.service) > before, within=3)
        victim.signal(signal.SIGSTOP)
        committed = environment.handled(victim.service) - before
        held = environment.unacknowledged(victim.service)
        return f"{victim.name}: {committed} committed, {held} unacknowledged" if held else None

    def look_or_continue() -> str | None:
        hit = _value_or_none(look)
        if hit is None:
            victim.signal(signal.SIGCONT)
            environment.proxies.restore(proxy)
            pause(0.2)
        return hit

    try:
        hit = wait_for_value(look_or_continue)
        environment.supervisor.end(victim, signal.SIGKILL)
    finally:
        environment.proxies.half_open(proxy)  # its last bytes are lost
        environment.proxies.restore(proxy)
        victim.signal(signal.SIGCONT)
    return hit


def _value_or_none(look: Callable[[], str | None]) -> str | None:
    try:
        return look()
    except (AssertionError, *UNREACHABLE):
        return None


def kill_relay_before_mark(environment: ChaosEnvironment, random: Random) -> str:
    """Lock the outbox so that the relay claims and publishes but waits before it marks."""
    del random
    victim = environment.supervisor.processes["orders"]

    def look() -> str | None:
        url = servers.database_url(environment.postgres, "orders")
        with psycopg.connect(url, connect_timeout=2) as locking:
            with environment.supervisor.frozen(victim):
                eventually(lambda: _unsent(environment) > 0, within=5)
                locking.execute("SET lock_timeout = '1s'")
                locking.execute("LOCK TABLE outbox IN SHARE MODE")
            count = _rows_claimed_at_mark(environment)
            environment.supervisor.end(victim, signal.SIGKILL)
            locking.rollback()
        return f"{count} claimed and confirmed, not marked"

    return wait_for_value(lambda: _value_or_none(look))


def _unsent(environment: ChaosEnvironment) -> int:
    return _count(environment, "SELECT count(*) FROM outbox WHERE sent_at IS NULL")


def _count(environment: ChaosEnvironment, query: str) -> int:
    return int(environment.admin(query, database="orders")[0][0])


def _rows_claimed_at_mark(environment: ChaosEnvironment) -> int:
    """How many rows a relay has claimed that waits to mark some of them."""
    eventually(
        lambda: environment.admin(
            """SELECT 1 FROM pg_stat_activity WHERE datname = 'orders'
            AND application_name = 'orders' AND wait_event_type = 'Lock'
            AND query LIKE 'UPDATE outbox%'"""
        ),
        within=5,
    )
    free = _count(
        environment,
        """SELECT count(*) FROM
        (SELECT 1 FROM outbox WHERE sent_at IS NULL FOR KEY SHARE SKIP LOCKED) AS free""",
    )
    claimed = _unsent(environment) - free
    assert claimed > 0
    return claimed


def terminate_each(environment: ChaosEnvironment, random: Random) -> str:
    exit_codes = []
    for process in random.sample(
        list(environment.supervisor.processes.values()), len(environment.supervisor.processes)
    ):
        freeze_in_transaction(environment, process)
        exit_codes.append(environment.supervisor.end(process, signal.SIGTERM))
    return (
        f"{len(exit_codes)} processes, each in a transaction; exit codes {sorted(set(exit_codes))}"
    )


def freeze_consumer(environment: ChaosEnvironment, random: Random) -> str:
    victim = random_process(environment, random, "orders")
    hit = freeze_in_transaction(environment, victim)
    try:
        pause(LONGER_THAN_HEARTBEAT)
    finally:
        victim.signal(signal.SIGCONT)
    return hit


def cut_from_broker(environment: ChaosEnvironment, random: Random) -> str:
    return _cut(environment, random, lambda proxies, proxy: proxies.cut(proxy, "up", "down"))


def block_from_broker(environment: ChaosEnvironment, random: Random) -> str:
    return _cut(environment, random, lambda proxies, proxy: proxies.cut(proxy, "down"))


def half_open_to_broker(environment: ChaosEnvironment, random: Random) -> str:
    return _cut(environment, random, lambda proxies, proxy: proxies.half_open(proxy))


def _cut(environment: ChaosEnvironment, random: Random, sever: Callable[..., None]) -> str:
    victim = random_process(environment, random)
    proxy = environment.proxy_of[victim.name]["broker"]
    hit = freeze_in_transaction(environment, victim)  # so that its message is unacknowledged
    try:
        sever(environment.proxies, proxy)
        victim.signal(signal.SIGCONT)
        pause(LONGER_THAN_HEARTBEAT)
    finally:
        victim.signal(signal.SIGCONT)
        environment.proxies.restore(proxy)
    return hit


def cut_from_database(environment: ChaosEnvironment, random: Random) -> str:
    victim = random_process(environment, random)
    proxy = environment.proxy_of[victim.name]["database"]

    def look() -> str | None:
        environment.proxies.cut(proxy, "up", "down")
        if environment.is_reacting(victim):
            return f"{victim.name} in a transaction"
        environment.proxies.restore(proxy)
        return None

    try:
        hit = wait_for_value(look)
        pause(LONGER_THAN_DATABASE_TIMEOUT)
    finally:
        environment.proxies.restore(proxy)
    return hit
