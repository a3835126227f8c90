"""Makes broker and databases as the services need them."""

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from shared.messaging.connect import broker_at
from shared.runtime.service import AnyService
from shared.runtime.service_settings import topology
from shared.runtime.settings import Settings, settings_for
from shared.storage import roles
from shared.storage.database import Database
from shared.storage.migrating import migrate

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
        OperationFailed: the files cannot be written.
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
        roles.grant(admin.database_admin_url, url)
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
