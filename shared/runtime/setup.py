"""Sets up the broker and the databases for the services."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from urllib.parse import unquote, urlsplit

from shared.errors import OperationFailed
from shared.messaging.connect import broker_at
from shared.runtime.service import AnyService
from shared.runtime.service_settings import service_settings_of, topology
from shared.runtime.settings import OPERATOR, Settings, settings_for
from shared.storage import checkpoints, roles
from shared.storage.database import Database
from shared.storage.migrating import migrate

ADMIN_SECRETS = ("rabbitmq", "postgres")


def set_up(services: Sequence[AnyService]) -> Iterator[str]:
    """Apply access rights, migrations and topology; it is idempotent.

    Yields:
        A sentence for each thing that was done, or not done for lack of permission.

    Raises:
        ShopError: a server refuses this or cannot be reached.
    """
    admin = _administrator()
    for service in services:
        yield _set_up_database(service, admin)
    if admin.database_admin_url:
        servers = Counter(admin.database_admin_url_of(each.name) for each in services)
        for url, number in servers.items():
            yield roles.room_for(url, number, connections=admin.database_connections)
    desired = topology(services, admin)
    broker = broker_at(
        admin.broker_url_of("setup"), admin_url=admin.broker_admin_url or None, app="shop setup"
    )
    try:
        yield f"broker: {broker.probe()}"
        yield from broker.set_up(desired)
        yield f"topology: {len(desired.queues)} queues, each with its dead queue, and the history"
    finally:
        broker.close()
    if admin.broker_admin_url and admin.keys:
        yield from _grant_broker_access(services, admin)


def _administrator() -> Settings:
    """The settings with the administrators' secrets."""
    wrong_container = OperationFailed(
        "set-up needs the administrators' secrets, which its own container alone can read: "
        "shop setup"
    )
    try:
        admin = settings_for(*ADMIN_SECRETS)
    except OperationFailed as error:
        if settings_for().composed:
            raise wrong_container from error
        raise
    if admin.composed and not admin.broker_url:
        raise wrong_container
    return admin


def set_up_embedded(services: Sequence[AnyService], settings: Settings) -> None:
    """Create the files of an embedded broker and of SQLite databases, and migrate them.

    Several processes may do so at the same time.

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
        admin_url = admin.database_admin_url_of(service.name)
        roles.grant(admin_url, url, connections=admin.database_connections)
    database = Database(url, app="shop setup")
    try:
        result = "migrated" if migrate(database, service.migrations) else "is current"
    finally:
        database.close()
    return f"database {database.place}: {result}"


def _grant_broker_access(services: Sequence[AnyService], admin: Settings) -> Iterator[str]:
    from shared.messaging.rabbitmq.permissions import grant  # noqa: PLC0415 - RabbitMQ only

    urls = {
        name: urlsplit(settings_for(name).broker_url_of(name))
        for name in (*(each.name for each in services), OPERATOR)
    }
    vhost = unquote(urls[OPERATOR].path.removeprefix("/")) or "/"
    passwords = {name: unquote(url.password or "") for name, url in urls.items()}
    history_readers = [each.name for each in services if _is_to_catch_up(each)]
    grant(
        admin.broker_admin_url,
        topology(services, admin),
        passwords,
        operator=OPERATOR,
        history_readers=history_readers,
        vhost=vhost,
    )
    yield f"broker access: {len(passwords)} users, each with the permissions that it needs"
    for name in history_readers:
        yield f"{name} may read the history: run this again when it has caught up, to end that"


def _is_to_catch_up(service: AnyService) -> bool:
    """Whether a service is to handle the history, and has not finished."""
    if not service_settings_of(service).from_history:
        return False
    database = Database(settings_for(service.name).database_url_of(service.name), app="shop setup")
    with closing(database), database.read() as connection:
        return checkpoints.completed_at(connection) is None
