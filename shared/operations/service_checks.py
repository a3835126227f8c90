"""What `shop doctor` checks of one service: its queue, failures, database, outbox and gateway."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from shared.errors import ForgedEvent
from shared.messaging.connect import broker_at
from shared.messaging.identity import Identity
from shared.messaging.ports.broker import Broker, Depth
from shared.messaging.topology import dead_queue
from shared.operations.console import counted, time_text
from shared.operations.failing import failing_rows, until
from shared.operations.findings import Finding, run_checks, unknown, well, wrong
from shared.runtime.hints import another_process, command
from shared.runtime.service import AnyService
from shared.runtime.settings import Settings, settings_for
from shared.storage import failures, outbox, service_state
from shared.storage.database import DATABASE_ERRORS, Database
from shared.storage.migrating import is_current
from shared.storage.service_state import Pause, ServiceState
from shared.storage.table_differences import table_differences

MAX_UNSENT_AGE = 60.0
"""Seconds. A relay that runs and reaches the broker sends an event within one."""

MAX_WAITING_AGE = 60.0
"""Seconds. An event that has waited longer is reported, although the service runs."""

RECENT_MINUTES = 10

_PEEK_SECONDS = 1.0
_MAX_NAMED = 3
"""How many of the rejected events, and of the forged ones, are named."""


def check_service(service: AnyService, *, has_broker: bool, is_set_up: bool) -> Iterator[Finding]:
    """Check one service.

    Args:
        has_broker: whether the broker can be asked.
        is_set_up: False if the broker's file is missing, so that nothing must create a folder.
    """
    name = service.name
    if has_broker:
        yield from run_checks(f"queue of {name}", partial(_queue, service))
        yield from run_checks(f"dead letters of {name}", partial(_dead_letters, service))
    yield from run_checks(f"database of {name}", partial(_database, service))
    if service.gateway is not None and is_set_up:
        remedy = f"see whether it runs, and the settings of {name}"
        yield from run_checks(f"{name}'s gateway", partial(_gateway, service), remedy=remedy)


@contextmanager
def opened(settings: Settings, name: str) -> Iterator[Broker]:
    """The broker, with the credentials of these settings."""
    admin_url = settings.broker_admin_url or None
    broker = broker_at(settings.broker_url_of(name), admin_url=admin_url, app="shop doctor")
    with closing(broker):
        yield broker


def _queue(service: AnyService, subject: str) -> Iterator[Finding]:
    name = service.name
    settings = settings_for(name)
    with opened(settings, name) as broker:
        depth = broker.depth(name)
        behind = oldest_age(broker, name) if depth.ready else None
    waiting = _waiting(depth, behind)
    pause = _state_of(service).pause
    # RabbitMQ does not count messages that wait for a retry, so an empty queue proves nothing.
    is_needed = bool(depth.ready) or not settings.is_embedded
    if pause is not None and not depth.consumers:
        yield wrong(subject, _paused(name, pause, waiting), behind=behind)
    elif is_needed and not depth.consumers:
        yield wrong(
            subject,
            f"{waiting} and no consumer: start the service with {command('run', name)}",
            behind=behind,
        )
    elif behind is not None and behind > MAX_WAITING_AGE:
        yield wrong(
            subject,
            f"{waiting}, {counted(depth.consumers, 'consumer')}: it is behind; if the number does "
            f"not fall, start another process with {another_process(name)}",
            behind=behind,
        )
    else:
        yield well(subject, f"{waiting}, {counted(depth.consumers, 'consumer')}", behind=behind)


def oldest_age(broker: Broker, queue: str) -> float | None:
    """Seconds since the event occurred that is delivered next; None if there is none.

    It is taken and requeued uncounted, since RabbitMQ tells nothing about it. A replayed event is
    old in any case.
    """
    consumer = broker.consumer(queue, prefetch=1, slow_start=False)
    try:
        taken = consumer.take(1, wait=_PEEK_SECONDS)
    finally:
        consumer.close()
    envelope = Identity.of(taken[0]).envelope if taken and not taken[0].is_replay else None
    return max(0.0, _since(envelope.time)) if envelope is not None else None


def _since(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds()


def _waiting(depth: Depth, behind: float | None) -> str:
    oldest = f", the oldest for {duration(behind)}" if behind is not None and behind >= 1 else ""
    return f"{depth.ready} ready{oldest}"


def duration(seconds: float) -> str:
    """Such as `8 s`, `3 min`, `5 h` or `2 days`."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _paused(name: str, pause: Pause, waiting: str) -> str:
    since = f"{time_text(pause.since)} ({duration(pause.seconds)})"
    if pause.is_fresh:
        return (
            f"paused since {since}: {pause.reason}. {waiting}. {name} runs, and continues by "
            "itself when that is mended"
        )
    return (
        f"{waiting} and no consumer: {name} has paused since {since} ({pause.reason}), and its "
        f"process has ended. Mend that, and start it with {command('run', name)}"
    )


def _database_of(service: AnyService) -> Database:
    return Database(settings_for(service.name).database_url_of(service.name))


def _state_of(service: AnyService) -> ServiceState:
    """What the service has left in its database; nothing if that cannot be read.

    The check of the database says why. Nothing is migrated here.
    """
    with closing(_database_of(service)) as database:
        try:
            if not is_current(database, service.migrations):
                return ServiceState()
            with database.read() as connection:
                return service_state.find(connection)
        except DATABASE_ERRORS:
            return ServiceState()


def _dead_letters(service: AnyService, subject: str) -> Iterator[Finding]:
    name = service.name
    with opened(settings_for(name), name) as broker:
        depth = broker.depth(dead_queue(name))
    if depth.consumers:
        yield wrong(
            subject, "another process is reading them and holds them meanwhile: run this again"
        )
        return
    if not depth.ready:
        yield well(subject, "none")
        return
    yield wrong(
        subject,
        f"{depth.ready} dead: see why with {command('dead', 'list', name)}, "
        "then retry or discard them",
    )
    with closing(_database_of(service)) as database:
        if not is_current(database, service.migrations):
            return  # the check of the database says so; nothing is migrated here
        with database.read() as connection:
            recent = failures.count_dead(
                connection, since=datetime.now(UTC) - timedelta(minutes=RECENT_MINUTES)
            )
            forged, examples = failures.dead_of(connection, ForgedEvent.__name__, _MAX_NAMED)
    if forged:
        yield wrong(
            subject,
            f"{forged} forged: {'; '.join(examples)}. Find out who published them, then discard "
            f"each: {command('dead', 'list', name)}",
        )
    if recent:
        yield wrong(
            subject,
            f"their number grows, {recent} died in the last {RECENT_MINUTES} minutes: mend the "
            "cause before you retry them",
        )


def _database(service: AnyService, subject: str) -> Iterator[Finding]:
    with closing(_database_of(service)) as database:
        if database.is_sqlite and not database.path.exists():
            yield wrong(subject, "does not exist: run shop setup")
            return
        database.ping()
        if not is_current(database, service.migrations):
            yield wrong(subject, "not migrated to this version: run shop setup")
            return
        if differences := table_differences(database, service.store):
            yield wrong(
                subject,
                f"{'; '.join(differences)}, although all migrations are applied: add a migration "
                f"to services/{service.name}/migrations, or find out who else uses this database",
            )
            return
        database.probe()
        yield well(subject, f"{database.place}, migrations current")
        yield from _failures(service, database)
        yield from _outbox(service, database)


def _failures(service: AnyService, database: Database) -> Iterator[Finding]:
    name = service.name
    subject = f"failures of {name}"
    rows = [
        (row["first_failed_at"], row["next_attempt_at"]) for row in failing_rows(service, database)
    ]
    if not rows:
        yield well(subject, "none is being retried")
        return
    oldest = min(first for first, _ in rows)
    upcoming = until(min(following for _, following in rows), datetime.now(UTC))
    yield wrong(
        subject,
        f"{len(rows)} failing, the oldest for {duration(_since(oldest))}, next attempt {upcoming}: "
        f"see why with {command('failures', name)}",
    )


def _outbox(service: AnyService, database: Database) -> Iterator[Finding]:
    subject = f"outbox of {service.name}"
    with database.read() as connection:
        backlog = outbox.backlog(connection)
        rejected = outbox.rejected_events(connection, _MAX_NAMED)
    if backlog.age > MAX_UNSENT_AGE:
        yield wrong(
            subject,
            f"{backlog.depth} events not sent, the oldest for {backlog.age:.0f} s: "
            f"check that {service.name} runs and can reach the broker",
        )
    if backlog.rejected:
        named = "; ".join(
            f"{event_type} {event_id} ({reason})" for event_id, event_type, reason in rejected
        )
        yield wrong(
            subject,
            f"{backlog.rejected} events rejected by the broker: {named}. Correct the cause "
            "(permissions: shop setup; size: the broker's max_message_size), then run "
            f"{command('outbox', 'resend', service.name)}",
        )
    if backlog.age <= MAX_UNSENT_AGE and not backlog.rejected:
        yield well(subject, f"{backlog.depth} to be sent")


def _gateway(service: AnyService, subject: str) -> Iterator[Finding]:
    kind: Any = service.gateway
    with closing(kind.from_settings(settings_for(service.name))) as gateway:
        used = _state_of(service).gateway
        if used is not None and used != gateway.place:
            yield unknown(
                subject,
                f"{service.name} uses {used}, and the settings of this shell name {gateway.place}: "
                f"run this with the settings of {service.name}",
            )
            return
        gateway.probe()
        yield well(subject, f"{gateway.place} answers")
