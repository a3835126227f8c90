"""Checks the broker, the databases and the topology: `shop doctor`.

Each finding that is not well says what to do. The checks change nothing, except that they write and
replace a row to see that the disk is not full. They use each service's own credentials, and
continue when a broker or a database cannot be reached.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from shared.clocks import TOLERANCE
from shared.command_line import command
from shared.errors import ForgedEvent, ShopError
from shared.messaging.connect import broker_at
from shared.messaging.ports.broker import Broker
from shared.messaging.topology import dead_queue
from shared.operations.console import counted, database_of
from shared.runtime.service import AnyService
from shared.runtime.service_settings import topology
from shared.runtime.settings import OPERATOR, Settings, settings_for
from shared.storage import failures, outbox
from shared.storage.database import DATABASE_ERRORS, Database, failure_reason
from shared.storage.migrating import is_current

MAX_UNSENT_AGE = 60.0
"""Seconds. A relay that runs and reaches the broker sends an event within one."""

RECENT_MINUTES = 10

_MAX_NAMED = 3
"""How many of the rejected events, and of the forged ones, are named."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        subject: what was checked.
        message: its state, or what is wrong with it and what to do.
    """

    subject: str
    is_well: bool
    message: str


def check(
    services: Sequence[AnyService], visible: Sequence[AnyService], operator: Settings | None
) -> Iterator[Finding]:
    """Check the broker, the topology, and each visible service.

    Args:
        services: all services, whose topology the broker should have.
        visible: the services whose credentials this process may read; at least one.
        operator: settings of the user who may see the topology; None to skip that check, where
            this process may not read them.
    """
    name = visible[0].name if operator is None else OPERATOR
    settings = operator or settings_for(name)
    file = settings.broker_file_of(name)
    is_missing = file is not None and not file.exists()
    with _opened(settings, name) as broker:
        missing_file = file if is_missing else None
        [broker_finding] = _run("broker", partial(_broker, broker, missing_file))
        yield broker_finding
        if broker_finding.is_well and operator is not None:
            yield from _run("topology", partial(_topology, services, operator, broker))
            yield from _run("broker's resources", partial(_resources, operator, broker))
            yield from _run("clocks", partial(_clocks, visible, broker))
    if broker_finding.is_well:
        yield from _run("publishers", partial(_publishers, visible))
    for service in visible:
        if broker_finding.is_well:
            yield from _run(f"queue of {service.name}", partial(_queue, service))
            yield from _run(f"dead letters of {service.name}", partial(_dead_letters, service))
        yield from _run(f"database of {service.name}", partial(_database, service))
        if service.gateway is not None and not is_missing:  # probing could create its folder
            yield from _run(f"{service.name}'s gateway", partial(_gateway, service))


def _run(subject: str, checks: Callable[[str], Iterable[Finding]]) -> list[Finding]:
    """Run checks of a subject; if they raise, that error is the finding."""
    try:
        return list(checks(subject))
    except ShopError as error:
        return [_wrong(subject, str(error))]
    except DATABASE_ERRORS as error:
        return [_wrong(subject, failure_reason(error))]


def _well(subject: str, message: str) -> Finding:
    return Finding(subject, is_well=True, message=message)


def _wrong(subject: str, message: str) -> Finding:
    return Finding(subject, is_well=False, message=message)


@contextmanager
def _opened(settings: Settings, name: str) -> Iterator[Broker]:
    admin_url = settings.broker_admin_url or None
    broker = broker_at(settings.broker_url_of(name), admin_url=admin_url, app="shop doctor")
    with closing(broker):
        yield broker


def _broker(broker: Broker, missing_file: Path | None, subject: str) -> Iterator[Finding]:
    if missing_file is not None:
        yield _wrong(subject, f"its file {missing_file} does not exist: run shop setup")
    else:
        yield _well(subject, broker.probe())


def _topology(
    services: Sequence[AnyService], operator: Settings, broker: Broker, subject: str
) -> Iterator[Finding]:
    problems = broker.check(topology(services, operator))
    for problem in problems:
        remedy = "" if "shop setup" in problem else ": run shop setup"
        yield _wrong(subject, f"{problem}{remedy}")
    if not problems:
        sees_all = operator.is_embedded or operator.broker_admin_url
        unchecked = "bindings and policies are not checked without SHOP_BROKER_ADMIN_URL"
        yield _well(subject, "as the services need it" + ("" if sees_all else f"; {unchecked}"))


def _publishers(visible: Sequence[AnyService], subject: str) -> Iterator[Finding]:
    """Which services cannot tell who published a message."""
    settings = {each.name: settings_for(each.name) for each in visible}
    if all(each.is_embedded for each in settings.values()):
        return  # whoever may write the file may write anything
    without_user, lenient = [], []
    for name, each in settings.items():
        with _opened(each, name) as broker:
            if broker.user != name:
                without_user.append(name)
            elif not each.require_broker_user:
                lenient.append(name)
    if without_user:
        yield _well(
            subject,
            f"{', '.join(without_user)} have no broker user of their own: routing keys and sources "
            "of messages are checked, but not who published them",
        )
    elif lenient:
        yield _wrong(
            subject,
            f"{', '.join(lenient)} accept messages that name no publisher: when all services run "
            "this version, unset SHOP_REQUIRE_BROKER_USER",
        )
    else:
        yield _well(subject, "checked by routing key, source and broker user")


def _resources(operator: Settings, broker: Broker, subject: str) -> Iterator[Finding]:
    if not operator.is_embedded and not operator.broker_admin_url:
        yield _well(subject, "alarms are not checked without SHOP_BROKER_ADMIN_URL")
        return
    shortages = broker.shortages()
    for shortage in shortages:
        yield _wrong(subject, shortage)
    if not shortages:
        yield _well(subject, "enough memory and disk, no connection is blocked")


def _clocks(visible: Sequence[AnyService], broker: Broker, subject: str) -> Iterator[Finding]:
    """Whether the servers' clocks are this machine's; nothing where there is no other machine."""
    differences = {"the broker": broker.clock_difference()} | _database_clocks(visible)
    compared = {name: each for name, each in differences.items() if each is not None}
    wrong = {name: each for name, each in compared.items() if abs(each) > TOLERANCE}
    for name, seconds in wrong.items():
        side = "ahead of" if seconds > 0 else "behind"
        yield _wrong(
            subject,
            f"the clock of {name} is at least {abs(seconds):.1f} s {side} this machine's: "
            "synchronise all clocks (NTP), or times of events and reactions cannot be compared",
        )
    if compared and not wrong:
        yield _well(subject, f"as this machine's, within {TOLERANCE:.0f} s: {', '.join(compared)}")


def _database_clocks(visible: Sequence[AnyService]) -> dict[str, float | None]:
    """The difference of each database server's clock; a server that does not answer is left out."""
    differences: dict[str, float | None] = {}
    for service in visible:
        with closing(
            Database(settings_for(service.name).database_url_of(service.name))
        ) as database:
            server = f"the database server {database.address.host}"
            if server not in differences and not database.is_sqlite:
                with suppress(*DATABASE_ERRORS):  # reported as "database of …"
                    differences[server] = database.clock_difference()
    return differences


def _queue(service: AnyService, subject: str) -> Iterator[Finding]:
    name = service.name
    settings = settings_for(name)
    with _opened(settings, name) as broker:
        depth = broker.depth(name)
    # RabbitMQ does not count messages that wait for a retry, so an empty queue proves nothing.
    if not depth.consumers and (depth.ready or not settings.is_embedded):
        yield _wrong(
            subject,
            f"{depth.ready} ready and no consumer: start the service with {command('run', name)}",
        )
    else:
        yield _well(subject, f"{depth.ready} ready, {counted(depth.consumers, 'consumer')}")


def _dead_letters(service: AnyService, subject: str) -> Iterator[Finding]:
    name = service.name
    with _opened(settings_for(name), name) as broker:
        depth = broker.depth(dead_queue(name))
    if depth.consumers:
        yield _wrong(
            subject, "another process is reading them and holds them meanwhile: run this again"
        )
        return
    if not depth.ready:
        yield _well(subject, "none")
        return
    yield _wrong(
        subject,
        f"{depth.ready} dead: see why with {command('dead', 'list', name)}, "
        "then retry or discard them",
    )
    with database_of(service) as database, database.read() as connection:
        recent = failures.count_dead(
            connection, since=datetime.now(UTC) - timedelta(minutes=RECENT_MINUTES)
        )
        forged, examples = failures.dead_of(connection, ForgedEvent.__name__, _MAX_NAMED)
    if forged:
        yield _wrong(
            subject,
            f"{forged} forged: {'; '.join(examples)}. Find out who published them, then discard "
            f"each: {command('dead', 'list', name)}",
        )
    if recent:
        yield _wrong(
            subject, f"their number grows: {recent} died in the last {RECENT_MINUTES} minutes"
        )


def _database(service: AnyService, subject: str) -> Iterator[Finding]:
    database = Database(settings_for(service.name).database_url_of(service.name))
    with closing(database):
        if database.is_sqlite and not database.path.exists():
            yield _wrong(subject, "does not exist: run shop setup")
            return
        database.ping()
        if not is_current(database, service.migrations):
            yield _wrong(subject, "not migrated to this version: run shop setup")
            return
        database.probe()
        yield _well(subject, f"{database.place}, migrations current")
        yield from _outbox(service, database)


def _outbox(service: AnyService, database: Database) -> Iterator[Finding]:
    subject = f"outbox of {service.name}"
    with database.read() as connection:
        backlog = outbox.backlog(connection)
        rejected = outbox.rejected_events(connection, _MAX_NAMED)
    if backlog.age > MAX_UNSENT_AGE:
        yield _wrong(
            subject,
            f"{backlog.depth} events not sent, the oldest for {backlog.age:.0f} s: "
            f"check that {service.name} runs and can reach the broker",
        )
    if backlog.rejected:
        named = "; ".join(
            f"{event_type} {event_id} ({reason})" for event_id, event_type, reason in rejected
        )
        yield _wrong(
            subject,
            f"{backlog.rejected} events rejected by the broker: {named}. Correct the cause "
            "(permissions: shop setup; size: the broker's max_message_size), then run "
            f"{command('outbox', 'resend', service.name)}",
        )
    if backlog.age <= MAX_UNSENT_AGE and not backlog.rejected:
        yield _well(subject, f"{backlog.depth} to be sent")


def _gateway(service: AnyService, subject: str) -> Iterator[Finding]:
    kind: Any = service.gateway
    with closing(kind.from_settings(settings_for(service.name))) as gateway:
        gateway.probe()
    yield _well(subject, "answers")
