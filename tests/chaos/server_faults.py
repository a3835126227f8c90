"""Faults of the broker, the database server and the mail server."""

from random import Random

from tests.chaos import servers
from tests.chaos.environment import ChaosEnvironment
from tests.chaos.in_flight import (
    LONGER_THAN_DATABASE_TIMEOUT,
    LONGER_THAN_HEARTBEAT,
    in_flight,
    pause,
    wait_for_value,
)
from tests.support.waiting import eventually


def kill_broker(environment: ChaosEnvironment, random: Random) -> str:
    hit = wait_for_value(lambda: in_flight(environment))
    environment.broker.kill()
    pause(random.uniform(0, 5))
    environment.broker.start()
    eventually(lambda: servers.broker_answers(environment.broker), within=servers.BOOT_SECONDS)
    return hit


def freeze_broker(environment: ChaosEnvironment, random: Random) -> str:
    del random
    hit = wait_for_value(lambda: in_flight(environment))
    environment.broker.pause_container()
    try:
        pause(LONGER_THAN_HEARTBEAT)
    finally:
        environment.broker.resume_container()
    return hit


def exhaust_broker_memory(environment: ChaosEnvironment, random: Random) -> str:
    """Raise a memory alarm, which blocks publishers while they hold claimed rows."""
    del random
    wait_for_value(lambda: in_flight(environment))
    environment.broker.run("rabbitmqctl", "set_vm_memory_high_watermark", "0.00001")
    try:
        hit = wait_for_value(lambda: _blocked_relays(environment))
        pause(5)
    finally:
        environment.broker.run("rabbitmqctl", "set_vm_memory_high_watermark", "0.6")
    return hit


def _blocked_relays(environment: ChaosEnvironment) -> str | None:
    """Relays that have waited a second for a confirm while their claimed rows are locked."""
    rows = environment.admin(
        """SELECT application_name FROM pg_stat_activity WHERE state = 'idle in transaction'
        AND query LIKE '%FOR UPDATE SKIP LOCKED%' AND clock_timestamp() - state_change > '1s'"""
    )
    names = sorted({name for (name,) in rows})
    return f"{', '.join(names)} blocked with claimed rows" if names else None


def kill_database_in_commit(environment: ChaosEnvironment, random: Random) -> str:
    """Make commits wait for a standby that does not exist, then kill the server."""
    del random

    def look() -> str | None:
        for statement in (
            "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
            "SELECT pg_reload_conf()",
        ):
            environment.admin(statement)
        names = wait_for_value(lambda: _committing(environment))
        environment.admin(
            "ALTER SYSTEM RESET synchronous_standby_names"
        )  # takes effect at the next start
        return f"{len(names)} commits waiting: {', '.join(sorted(set(names)))}"

    hit = wait_for_value(look)
    environment.postgres.kill()
    environment.postgres.start()
    eventually(lambda: servers.database_answers(environment.postgres), within=servers.BOOT_SECONDS)
    return hit


def _committing(environment: ChaosEnvironment) -> list[str]:
    rows = environment.admin(
        "SELECT application_name FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    )
    return [name for (name,) in rows]


def restart_database(environment: ChaosEnvironment, random: Random) -> str:
    del random
    hit = wait_for_value(lambda: in_flight(environment))
    environment.postgres.restart()
    eventually(lambda: servers.database_answers(environment.postgres), within=servers.BOOT_SECONDS)
    return hit


def freeze_database(environment: ChaosEnvironment, random: Random) -> str:
    del random
    hit = wait_for_value(lambda: in_flight(environment))
    environment.postgres.pause_container()
    try:
        pause(LONGER_THAN_DATABASE_TIMEOUT)
    finally:
        environment.postgres.resume_container()
    return hit


def stop_mail_server(environment: ChaosEnvironment, random: Random) -> str:
    environment.mail_server.slow = 0.3
    hit = wait_for_value(lambda: _mailing(environment))
    environment.mail_server.close()
    environment.mail_server.slow = 0.0
    try:
        pause(random.uniform(3, 8))
    finally:
        environment.mail_server.open()
    return hit


def slow_mail_server(environment: ChaosEnvironment, random: Random) -> str:
    """Respond more slowly than the mailer's timeout."""
    del random
    environment.mail_server.slow = 12.0
    try:
        hit = wait_for_value(lambda: _mailing(environment))
        pause(15)
    finally:
        environment.mail_server.slow = 0.0
    return hit


def refuse_mail(environment: ChaosEnvironment, random: Random) -> str:
    del random
    before = environment.mail_server.refused
    environment.mail_server.refusing = True
    try:
        wait_for_value(lambda: environment.mail_server.refused >= before + 3)
    finally:
        environment.mail_server.refusing = False
    return f"{environment.mail_server.refused - before} mails refused with 451"


def _mailing(environment: ChaosEnvironment) -> str | None:
    return (
        f"{environment.mail_server.busy} mail in progress" if environment.mail_server.busy else None
    )
