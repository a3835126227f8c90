"""Looks whether all is as it should be, and says of what is not what to do.

It changes nothing, asks each service's broker and database with that service's own credentials,
and goes on past what is away.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from shared.errors import ShopError
from shared.messaging.connect import broker_at
from shared.messaging.ports.broker import Broker
from shared.messaging.topology import dead_queue
from shared.operations.console import database_of
from shared.runtime.service import AnyService
from shared.runtime.service_settings import topology
from shared.runtime.settings import Settings, settings_for
from shared.runtime.setup import OPERATOR
from shared.storage import failures, outbox
from shared.storage.database import DATABASE_ERRORS, Database
from shared.storage.migrating import is_current

OLDEST_UNSENT = 60.0
"""Seconds. A relay sends within one, as long as it runs and the broker takes messages."""

RECENTLY = timedelta(minutes=10)

_NAMED = 3
"""Of the events that were set aside, so many are named."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, and what is wrong with it; nothing as a rule."""

    what: str
    is_well: bool
    says: str


def check(
    everyone: Sequence[AnyService], visible: Sequence[AnyService], operator: Settings | None
) -> Iterator[Finding]:
    """Look at the broker, and at each service that may be seen from here.

    Args:
        everyone: all services; the topology should be theirs.
        visible: those whose credentials this process may read.
        operator: the settings of whoever sees the topology; None where they may not be read.
    """
    names = [each.name for each in visible]
    settings, name = (
        (settings_for(names[0]), names[0]) if operator is None else (operator, OPERATOR)
    )
    file = settings.broker_file_of(name)
    is_new = file is not None and not file.exists()
    with _opened(settings, name) as broker:
        [found] = _guarded("broker", lambda what: [_broker(what, broker, file if is_new else None)])
        yield found
        if found.is_well and operator is not None:
            yield from _guarded("topology", partial(_topology, everyone, operator, broker))
    for service in visible:
        if found.is_well:
            yield from _guarded(f"queue of {service.name}", partial(_queue, service))
            yield from _guarded(f"dead letters of {service.name}", partial(_dead_letters, service))
        yield from _guarded(f"database of {service.name}", partial(_database, service))
        if service.gateway is not None and not is_new:  # to look would make its folder
            yield from _guarded(f"{service.name}'s gateway", partial(_gateway, service))


def _guarded(what: str, look: Callable[[str], Iterable[Finding]]) -> list[Finding]:
    """What a look finds; that it cannot be made is a finding too."""
    try:
        return list(look(what))
    except ShopError as error:
        return [_wrong(what, str(error))]
    except DATABASE_ERRORS as error:
        cause = type(getattr(error, "orig", None) or error).__name__
        return [_wrong(what, f"cannot be used ({cause}): is it running?")]


def _well(what: str, says: str) -> Finding:
    return Finding(what, is_well=True, says=says)


def _wrong(what: str, says: str) -> Finding:
    return Finding(what, is_well=False, says=says)


@contextmanager
def _opened(settings: Settings, name: str) -> Iterator[Broker]:
    admin_url = settings.broker_admin_url or None
    broker = broker_at(settings.broker_url_of(name), admin_url=admin_url, app="shop doctor")
    try:
        yield broker
    finally:
        broker.close()


def _broker(what: str, broker: Broker, missing: Path | None) -> Finding:
    if missing is not None:
        return _wrong(what, f"its file {missing} is not there yet: run shop setup")
    return _well(what, broker.probe())


def _topology(
    everyone: Sequence[AnyService], operator: Settings, broker: Broker, what: str
) -> Iterator[Finding]:
    problems = broker.check(topology(everyone, operator))
    for problem in problems:
        mended = "" if "shop setup" in problem else "; to make it right: shop setup"
        yield _wrong(what, f"{problem}{mended}")
    if not problems:
        sees_all = operator.is_embedded or operator.broker_admin_url
        unseen = "" if sees_all else ", as far as it shows without SHOP_BROKER_ADMIN_URL"
        yield _well(what, f"as the services need it{unseen}")


def _queue(service: AnyService, what: str) -> Iterator[Finding]:
    name = service.name
    settings = settings_for(name)
    with _opened(settings, name) as broker:
        found = broker.depth(name)
    # RabbitMQ does not tell of events that wait for another attempt; and there it should run.
    if not found.consumers and (found.ready or not settings.is_embedded):
        says = f"nobody takes its events, {found.ready} wait; start it: shop run {name}"
        yield _wrong(what, says)
    else:
        consumers = "1 consumer" if found.consumers == 1 else f"{found.consumers} consumers"
        yield _well(what, f"{found.ready} ready, {consumers}")


def _dead_letters(service: AnyService, what: str) -> Iterator[Finding]:
    name = service.name
    with _opened(settings_for(name), name) as broker:
        found = broker.depth(dead_queue(name))
    if found.consumers:
        yield _wrong(what, "somebody looks at them now, and holds them meanwhile: look again")
        return
    if not found.ready:
        yield _well(what, "none")
        return
    yield _wrong(
        what, f"{found.ready}; see what they died of, and retry or discard: shop dead list {name}"
    )
    with database_of(service) as database, database.read() as connection:
        recent = failures.died_since(connection, datetime.now(UTC) - RECENTLY)
    if recent:
        minutes = RECENTLY.total_seconds() / 60
        yield _wrong(what, f"they grow: {recent} died within the last {minutes:.0f} minutes")


def _database(service: AnyService, what: str) -> Iterator[Finding]:
    database = Database(settings_for(service.name).database_url_of(service.name))
    try:
        if database.is_sqlite and not database.path.exists():
            yield _wrong(what, "not there yet: run shop setup")
            return
        database.probe()
        if not is_current(database, service.migrations):
            yield _wrong(what, "not migrated: run shop setup")
            return
        yield _well(what, f"{database.place}, migrations current")
        yield from _outbox(service, database)
    finally:
        database.close()


def _outbox(service: AnyService, database: Database) -> Iterator[Finding]:
    what = f"outbox of {service.name}"
    with database.read() as connection:
        found, aside = outbox.backlog(connection), outbox.set_aside(connection, _NAMED)
    if found.age > OLDEST_UNSENT:
        yield _wrong(
            what,
            f"{found.depth} events are not sent, the oldest since {found.age:.0f} s: "
            f"does {service.name} run, and can it reach the broker?",
        )
    if found.refused:
        named = "; ".join(
            f"{event_type} {event_id} ({reason})" for event_id, event_type, reason in aside
        )
        yield _wrong(
            what,
            f"{found.refused} events that the broker would not take were set aside: {named}. Mend "
            "the cause (permissions: shop setup; size: the broker's max_message_size), then: "
            f"shop outbox resend {service.name}",
        )
    if found.age <= OLDEST_UNSENT and not found.refused:
        yield _well(what, f"{found.depth} to be sent")


def _gateway(service: AnyService, what: str) -> Iterator[Finding]:
    kind: Any = service.gateway
    gateway = kind.from_settings(settings_for(service.name))
    try:
        gateway.probe()
    finally:
        gateway.close()
    yield _well(what, "answers")
