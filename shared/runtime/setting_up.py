"""Makes broker and databases as the services need them, and checks that they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from shared.errors import ShopError
from shared.messaging.connect import broker_at
from shared.runtime.service import AnyService
from shared.runtime.settings import Settings, settings_for
from shared.runtime.tuning import topology
from shared.storage import access
from shared.storage.database import DATABASE_ERRORS, Database
from shared.storage.migrating import is_current, migrate

ADMIN_SECRETS = ("rabbitmq", "postgres")
OPERATOR = "operator"


def set_up(services: Sequence[AnyService]) -> Iterator[str]:
    """Apply access, migrations and topology; again changes nothing.

    Yields:
        What was done, or left undone for lack of permission, a sentence each.

    Raises:
        ShopError: something refused or cannot be reached.
    """
    admin = settings_for(*ADMIN_SECRETS)
    for service in services:
        yield _set_up_database(service, admin)
    wanted = topology(services, admin)
    broker = broker_at(
        admin.broker_url_of("setup"), admin_url=admin.broker_admin_url or None, app="shop setup"
    )
    try:
        yield f"broker: {broker.probe()}"
        yield from broker.set_up(wanted)
        yield f"topology: {len(wanted.queues)} queues, each with its dead queue, and the history"
    finally:
        broker.close()
    if admin.broker_admin_url and admin.keys:
        yield _grant_broker_access(services, admin)


def set_up_embedded(services: Sequence[AnyService], settings: Settings) -> None:
    """Make what is embedded, for services about to run; several processes may do so at once.

    Raises:
        CouldNotBeDone: the files cannot be written.
    """
    if settings.is_embedded:
        broker = broker_at(settings.broker_url_of("setup"))
        try:
            broker.set_up(topology(services, settings))
        finally:
            broker.close()
    for service in services:
        database = Database(settings.database_url_of(service.name))
        try:
            if database.is_sqlite:
                migrate(database, service.migrations)
        finally:
            database.close()


def _set_up_database(service: AnyService, admin: Settings) -> str:
    url = settings_for(service.name).database_url_of(service.name)
    if admin.database_admin_url:
        access.grant(admin.database_admin_url, url)
    database = Database(url, app="shop setup")
    try:
        did = "migrated" if migrate(database, service.migrations) else "is current"
    finally:
        database.close()
    return f"database {database.place}: {did}"


def _grant_broker_access(services: Sequence[AnyService], admin: Settings) -> str:
    from shared.messaging.rabbitmq.permissions import grant  # noqa: PLC0415 - RabbitMQ only

    addresses = {
        name: urlsplit(settings_for(name).broker_url_of(name))
        for name in (*(each.name for each in services), OPERATOR)
    }
    vhost = addresses[OPERATOR].path.removeprefix("/") or "/"
    passwords = {name: address.password or "" for name, address in addresses.items()}
    grant(admin.broker_admin_url, topology(services, admin), passwords, vhost=vhost)
    return f"broker access: {len(passwords)} users, each with what it needs and no more"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, and what is wrong with it; nothing as a rule."""

    what: str
    is_well: bool
    says: str


def check(services: Sequence[AnyService], settings: Settings) -> Iterator[Finding]:
    """Look whether broker, databases and what is outside are there and as they should be."""
    yield from _check_broker(services, settings)
    for service in services:
        yield _check_database(service)
        if service.acts_outside is not None:
            yield _check_outside(service)


def _check_broker(services: Sequence[AnyService], settings: Settings) -> Iterator[Finding]:
    try:
        broker = broker_at(
            settings.broker_url_of(OPERATOR), admin_url=settings.broker_admin_url or None
        )
        try:
            yield Finding("broker", is_well=True, says=broker.probe())
            problems = broker.check(topology(services, settings))
        finally:
            broker.close()
    except ShopError as error:
        yield Finding("broker", is_well=False, says=str(error))
        return
    for problem in problems:
        yield Finding("topology", is_well=False, says=problem)
    if not problems:
        yield Finding("topology", is_well=True, says="as the services need it")


def _check_database(service: AnyService) -> Finding:
    what = f"database of {service.name}"
    try:
        database = Database(settings_for(service.name).database_url_of(service.name))
        try:
            if database.is_sqlite and not database.path.exists():
                return Finding(what, is_well=False, says="not there yet: run shop setup")
            database.probe()
            if not is_current(database, service.migrations):
                return Finding(what, is_well=False, says="not migrated: run shop setup")
            return Finding(what, is_well=True, says=f"{database.place}, migrations current")
        finally:
            database.close()
    except (ShopError, *DATABASE_ERRORS) as error:
        says = str(error) if isinstance(error, ShopError) else type(error).__name__
        return Finding(what, is_well=False, says=says)


def _check_outside(service: AnyService) -> Finding:
    what = f"{service.name}'s way outside"
    try:
        kind: Any = service.acts_outside
        outside = kind.opened(settings_for(service.name))
        try:
            outside.probe()
        finally:
            outside.close()
    except ShopError as error:
        return Finding(what, is_well=False, says=str(error))
    return Finding(what, is_well=True, says="answers")
