"""Sets up the broker and the databases for the services."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from urllib.parse import unquote, urlsplit

from shared.errors import OperationFailed
from shared.messaging.connect import broker_at
from shared.messaging.ports.broker import Broker
from shared.messaging.topology import Topology
from shared.runtime import unsubscribed
from shared.runtime.service import AnyService
from shared.runtime.service_settings import service_settings_of, topology
from shared.runtime.settings import OPERATOR, Settings, settings_for
from shared.runtime.unsubscribed import Unsubscribed
from shared.storage import checkpoints, roles
from shared.storage.database import Database
from shared.storage.migrating import migrate

ADMIN_SECRETS = ("rabbitmq", "postgres")


def set_up(
    services: Sequence[AnyService], *, drop_unsubscribed: bool = False
) -> Iterator[str | Unsubscribed]:
    """Apply access rights, migrations and topology; it is idempotent.

    Args:
        drop_unsubscribed: drop the messages that wait of types to which their service no longer
            subscribes; otherwise such a subscription stays until none waits.

    Yields:
        A sentence for each thing that was done, or not done for lack of permission, and what waits
        or was dropped.

    Raises:
        UnsubscribedBacklog: all else is done, but some subscriptions had to stay.
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
    with closing(broker):
        yield f"broker: {broker.probe()}"
        ended = broker.ended_subscriptions(desired)
        waiting = [] if drop_unsubscribed else _unsubscribed(broker, desired, ended)
        held = {each.service: ended[each.service] for each in waiting}
        applied = unsubscribed.kept(desired, held)
        yield from broker.set_up(applied)
        yield f"topology: {len(desired.queues)} queues, each with its dead queue, and the history"
        if drop_unsubscribed:
            for queue in desired.queues:
                yield from unsubscribed.drop(broker, queue) if queue.name in ended else ()
    if admin.broker_admin_url and admin.keys:
        yield from _grant_broker_access(services, admin, applied)
    if waiting:
        yield from waiting
        raise unsubscribed.refusal(waiting)


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


def _unsubscribed(
    broker: Broker, desired: Topology, ended: Mapping[str, frozenset[str]]
) -> list[Unsubscribed]:
    return [
        each
        for queue in desired.queues
        if queue.name in ended
        for each in unsubscribed.find(broker, queue, ended[queue.name])
    ]


def set_up_embedded(
    services: Sequence[AnyService], settings: Settings, *, starting: Collection[str] = ()
) -> None:
    """Create the files of an embedded broker and of SQLite databases, and migrate them.

    Several processes may do so at the same time. A subscription that this process does not know
    stays while other processes of that service run, as they may be of another release, and while
    messages of it wait.

    Args:
        starting: the services that this process will run.

    Raises:
        UnsubscribedBacklog: messages wait to which one of these services no longer subscribes.
        OperationFailed: the files cannot be written.
    """
    if settings.is_embedded:
        with closing(broker_at(settings.broker_url_of("setup"))) as broker:
            desired = topology(services, settings)
            ended = broker.ended_subscriptions(desired)
            running = {name for name in ended if broker.depth(name).consumers}
            idle = {name: topics for name, topics in ended.items() if name not in running}
            waiting = _unsubscribed(broker, desired, idle)
            if refused := [each for each in waiting if each.service in starting]:
                raise unsubscribed.refusal(refused)
            held = running | {each.service for each in waiting}
            broker.set_up(unsubscribed.kept(desired, {name: ended[name] for name in held}))
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


def _grant_broker_access(
    services: Sequence[AnyService], admin: Settings, applied: Topology
) -> Iterator[str]:
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
        applied,
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
