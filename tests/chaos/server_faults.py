"""Faults of the broker, the database server and the mail server."""

from random import Random

from tests.chaos import servers
from tests.chaos.moments import (
    PAST_THE_DATABASE_TIMEOUT,
    PAST_THE_HEARTBEAT,
    caught,
    hold,
    in_flight,
)
from tests.chaos.site import Site
from tests.support.waiting import eventually


def kill_broker(site: Site, mix: Random) -> str:
    hit = caught(lambda: in_flight(site))
    site.broker.kill()
    hold(mix.uniform(0, 5))
    site.broker.start()
    eventually(lambda: servers.broker_answers(site.broker), within=servers.BOOT_SECONDS)
    return hit


def freeze_broker(site: Site, mix: Random) -> str:
    del mix
    hit = caught(lambda: in_flight(site))
    site.broker.freeze()
    try:
        hold(PAST_THE_HEARTBEAT)
    finally:
        site.broker.thaw()
    return hit


def fill_broker(site: Site, mix: Random) -> str:
    """A memory alarm blocks whoever publishes; what they claimed stays claimed meanwhile."""
    del mix
    caught(lambda: in_flight(site))
    site.broker.run("rabbitmqctl", "set_vm_memory_high_watermark", "0.00001")
    try:
        hit = caught(lambda: _blocked_relays(site))
        hold(5)
    finally:
        site.broker.run("rabbitmqctl", "set_vm_memory_high_watermark", "0.6")
    return hit


def _blocked_relays(site: Site) -> str | None:
    """Relays that have waited a second for a confirm, with what they claimed locked."""
    rows = site.admin(
        """SELECT application_name FROM pg_stat_activity WHERE state = 'idle in transaction'
        AND query LIKE '%FOR UPDATE SKIP LOCKED%' AND clock_timestamp() - state_change > '1s'"""
    )
    names = sorted({name for (name,) in rows})
    return f"{', '.join(names)} blocked with what was claimed" if names else None


def kill_database_in_commit(site: Site, mix: Random) -> str:
    """Commits wait unanswered, though on the disk, as for a second server; then it dies."""
    del mix

    def look() -> str | None:
        for statement in (
            "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
            "SELECT pg_reload_conf()",
        ):
            site.admin(statement)
        names = caught(lambda: _committing(site))
        site.admin("ALTER SYSTEM RESET synchronous_standby_names")  # holds from the next start
        return f"{len(names)} commits unanswered: {', '.join(sorted(set(names)))}"

    hit = caught(look)
    site.postgres.kill()
    site.postgres.start()
    eventually(lambda: servers.database_answers(site.postgres), within=servers.BOOT_SECONDS)
    return hit


def _committing(site: Site) -> list[str]:
    rows = site.admin("SELECT application_name FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    return [name for (name,) in rows]


def restart_database(site: Site, mix: Random) -> str:
    del mix
    hit = caught(lambda: in_flight(site))
    site.postgres.restart()
    eventually(lambda: servers.database_answers(site.postgres), within=servers.BOOT_SECONDS)
    return hit


def freeze_database(site: Site, mix: Random) -> str:
    del mix
    hit = caught(lambda: in_flight(site))
    site.postgres.freeze()
    try:
        hold(PAST_THE_DATABASE_TIMEOUT)
    finally:
        site.postgres.thaw()
    return hit


def mail_away(site: Site, mix: Random) -> str:
    site.mailbox.slow = 0.3
    hit = caught(lambda: _mailing(site))
    site.mailbox.close()
    site.mailbox.slow = 0.0
    try:
        hold(mix.uniform(3, 8))
    finally:
        site.mailbox.open()
    return hit


def mail_slow(site: Site, mix: Random) -> str:
    """Slower than the mailer has patience."""
    del mix
    site.mailbox.slow = 12.0
    try:
        hit = caught(lambda: _mailing(site))
        hold(15)
    finally:
        site.mailbox.slow = 0.0
    return hit


def mail_refusing(site: Site, mix: Random) -> str:
    del mix
    before = site.mailbox.refused
    site.mailbox.refusing = True
    try:
        caught(lambda: site.mailbox.refused >= before + 3)
    finally:
        site.mailbox.refusing = False
    return f"{site.mailbox.refused - before} mails refused with 451"


def _mailing(site: Site) -> str | None:
    return f"{site.mailbox.busy} mail under way" if site.mailbox.busy else None
