"""Every service tries everything at the broker, and may do what it declares and nothing else.

The services are those of the registry, and one that exists only here, so that a service which is
added later is covered as well. What is tried is every combination of a user with an event type, a
queue and an exchange.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple
from uuid import uuid4

import pika
import pytest
from pika import spec
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import (
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
)

from shared.errors import BrokerRefused
from shared.events import concrete_types
from shared.messaging.rabbitmq import RabbitBroker, grant
from shared.messaging.rabbitmq.management import Management
from shared.messaging.topology import (
    DEAD_LETTERS,
    EVENTS,
    HISTORY,
    REPLAYS,
    Queue,
    Topology,
    dead_queue,
)
from shared.runtime.service import AnyService, Service
from shop import registry
from tests.containers import RabbitServer, Vhost
from tests.support.counting import CountStore, ThingCounted, ThingHappened, count

OPERATOR = "operator"
PASSWORD = "matrix/password@%"  # noqa: S105 - nobody's


def made_up() -> AnyService:
    """A service that somebody may add, with a contract of its own."""
    service: AnyService = Service("made_up", store=CountStore, publishes=(ThingCounted,))
    service.on(ThingHappened, count)
    return service


QUEUES = {each.name: each.queue() for each in (*registry.all_services(), made_up())}
TOPOLOGY = Topology(queues=tuple(QUEUES.values()))
KEYS = sorted({each.topic for each in concrete_types()} | {"nobody.declared_this", "#", "order.*"})
ALL_QUEUES = [*QUEUES, *map(dead_queue, QUEUES), HISTORY]
OWN_EXCHANGES = [EVENTS, REPLAYS, DEAD_LETTERS]
EXCHANGES = [*OWN_EXCHANGES, "amq.topic", "amq.direct", "amq.fanout", "amq.headers"]


Act = Callable[[BlockingChannel], object]


class Attempt(NamedTuple):
    """Something that a user tries on a channel of its own.

    Attributes:
        is_declared: whether it follows from the declaration of the user's service.
    """

    what: str
    act: Act
    is_declared: bool = False


class Tried(NamedTuple):
    """The broker after set-up, as its users find it."""

    vhost: Vhost
    history_readers: list[str]

    def url(self, user: str) -> str:
        return self.vhost.as_user(user, PASSWORD)

    def grant(self, *history_readers: str) -> None:
        grant(
            self.vhost.admin_url,
            TOPOLOGY,
            dict.fromkeys((*QUEUES, OPERATOR), PASSWORD),
            operator=OPERATOR,
            history_readers=history_readers,
            vhost=self.vhost.name,
        )

    def management(self, user: str) -> Management:
        server = self.vhost.admin_url.rpartition("@")[2]
        login = self.url(user).partition("://")[2].rpartition("@")[0]
        return Management(f"http://{login}@{server}")


@pytest.fixture(scope="module")
def broker(rabbitmq_server: RabbitServer) -> Iterator[Tried]:
    name = f"test/{uuid4().hex[:12]}"
    management = Management(rabbitmq_server.admin_url)
    management.put("vhosts", name)
    vhost = Vhost(rabbitmq_server.amqp_url(name), rabbitmq_server.admin_url, name)
    tried = Tried(vhost, [])
    assert RabbitBroker(vhost.amqp_url, admin_url=vhost.admin_url).set_up(TOPOLOGY) == []
    tried.grant()
    yield tried
    for user in (*QUEUES, OPERATOR):
        management.delete("users", user)
    management.delete("vhosts", name)


@pytest.mark.parametrize("name", QUEUES)
def test_a_service_may_do_what_it_declares_and_nothing_else(broker: Tried, name: str) -> None:
    attempts = list(attempts_of(QUEUES[name]))

    allowed = what_is_allowed(attempts, broker.url(name))

    assert allowed == {each.what for each in attempts if each.is_declared}
    assert any(each.is_declared for each in attempts)


def test_the_operator_reads_the_history_and_may_do_nothing_else(broker: Tried) -> None:
    nobody = Queue(name=OPERATOR, topics=frozenset())
    attempts = list(attempts_of(nobody))

    allowed = what_is_allowed(attempts, broker.url(OPERATOR))

    assert allowed == READING_HISTORY


def test_every_pair_of_a_service_and_an_event_type_is_tried() -> None:
    topics = {each.topic for each in concrete_types()}
    tried = {name: {each.what for each in attempts_of(QUEUES[name])} for name in QUEUES}

    assert {"order.placed", ThingCounted.topic} <= topics
    assert set(registry.names()) < set(QUEUES)
    for name, topic in product(QUEUES, topics):
        assert {f"publish {topic} to {EVENTS}", f"bind own queue to {EVENTS} by {topic}"} <= tried[
            name
        ]


@pytest.mark.parametrize("name", QUEUES)
def test_a_service_reads_the_history_only_while_that_is_granted(broker: Tried, name: str) -> None:
    attempts = list(attempts_of(QUEUES[name]))
    declared = {each.what for each in attempts if each.is_declared}
    reading = [each for each in attempts if HISTORY in each.what]

    broker.grant(name)
    while_granted = what_is_allowed(reading, broker.url(name))
    broker.grant()
    afterwards = what_is_allowed(reading, broker.url(name))

    assert while_granted == READING_HISTORY
    assert afterwards == set()
    assert not READING_HISTORY & declared


@pytest.mark.parametrize("name", QUEUES)
def test_no_service_uses_the_management_api(broker: Tried, name: str) -> None:
    management = broker.management(name)
    vhost = broker.vhost.name
    requests: list[Callable[[], object]] = [
        lambda: management.get("whoami"),
        lambda: management.get("queues", vhost),
        lambda: management.get("bindings", vhost),
        lambda: management.get("connections"),
        lambda: management.get("definitions"),
        lambda: management.put("users", name, content={"password": "x", "tags": "administrator"}),
        lambda: management.put("permissions", vhost, name, content=EVERYTHING),
        lambda: management.delete("topic-permissions", vhost, name),
        lambda: management.delete("user-limits", name, "max-connections"),
        lambda: management.put("policies", vhost, "x", content={"pattern": "", "definition": {}}),
        lambda: management.delete("queues", vhost, "orders"),
        lambda: management.put("vhosts", "mine"),
    ]

    for request in requests:
        with pytest.raises(BrokerRefused, match="refuses the user"):
            request()


def test_the_operator_changes_nothing_through_the_management_api(broker: Tried) -> None:
    management = broker.management(OPERATOR)
    vhost = broker.vhost.name
    requests: list[Callable[[], object]] = [
        lambda: management.put("users", OPERATOR, content={"password": "x", "tags": ""}),
        lambda: management.put("permissions", vhost, OPERATOR, content=EVERYTHING),
        lambda: management.put("policies", vhost, "x", content={"pattern": "", "definition": {}}),
        lambda: management.delete("user-limits", "orders", "max-connections"),
        lambda: management.delete("queues", vhost, "orders"),
        lambda: management.delete("bindings", vhost, "e", EVENTS, "q", HISTORY, "%23"),
        lambda: management.put("vhosts", "mine"),
        lambda: management.get("users"),
    ]

    for request in requests:
        with pytest.raises(BrokerRefused, match=r"refuses|answers 40"):
            request()


@pytest.mark.parametrize("name", [*QUEUES, OPERATOR])
def test_no_user_opens_another_virtual_host(broker: Tried, name: str) -> None:
    parameters = pika.URLParameters(broker.url(name))
    parameters.virtual_host = "/"

    with pytest.raises(ProbableAccessDeniedError):
        pika.BlockingConnection(parameters)


REFUSALS = {403, 406, 540}
"""540 is the answer to purging a stream, 406 to another user's id, 403 to everything else."""

READING_HISTORY = {f"consume {HISTORY}", f"see {HISTORY}"}

EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}


def attempts_of(me: Queue) -> Iterator[Attempt]:
    """Everything that the user of a service tries."""
    yield from _publishing(me)
    yield from _forging(me)
    yield from _reading(me)
    yield from _binding(me)
    yield from _configuring(me)


def _publishing(me: Queue) -> Iterator[Attempt]:
    for key in KEYS:
        yield Attempt(f"publish {key} to {EVENTS}", publish(EVENTS, key), key in me.publishes)
    for key in (*KEYS, *ALL_QUEUES):
        is_own = key == me.name and me.name in QUEUES
        yield Attempt(f"publish {key} to {REPLAYS}", publish(REPLAYS, key), is_own)
    for exchange, key in product(["", *EXCHANGES[2:]], ALL_QUEUES):
        yield Attempt(f"publish {key} to {exchange or 'the default'}", publish(exchange, key))


def _forging(me: Queue) -> Iterator[Attempt]:
    """Publish what the service may publish, as another user, and with more keys in headers."""
    own = [(EVENTS, key) for key in sorted(me.publishes)] or [(REPLAYS, me.name)]
    exchange, key = own[0]
    may = me.name in QUEUES
    for user in (*QUEUES, OPERATOR, "admin", "guest"):
        properties = spec.BasicProperties(user_id=user)  # type: ignore[no-untyped-call]
        yield Attempt(
            f"publish {key} as {user}",
            publish(exchange, key, properties),
            may and user == me.name,
        )
    for header, other in product(("CC", "BCC"), KEYS):
        properties = spec.BasicProperties(headers={header: [other]})  # type: ignore[no-untyped-call]
        yield Attempt(
            f"publish {key} with {header} {other}",
            publish(exchange, key, properties),
            other in me.publishes,
        )


def _reading(me: Queue) -> Iterator[Attempt]:
    mine = {me.name, dead_queue(me.name)}
    for queue in ALL_QUEUES:
        yield Attempt(f"consume {queue}", consume(queue), queue in mine)
        yield Attempt(f"purge {queue}", purge(queue), queue in mine)
        yield Attempt(f"see {queue}", see(queue), queue in mine)


def _binding(me: Queue) -> Iterator[Attempt]:
    keys = (*KEYS, *QUEUES)
    for exchange, key in product(EXCHANGES, keys):
        is_own = exchange == EVENTS and key in me.topics
        what = f"own queue to {exchange} by {key}"
        yield Attempt(f"unbind {what}", unbind(me.name, exchange, key), is_own)
        yield Attempt(f"bind {what}", bind(me.name, exchange, key), is_own)
    own_key = min(me.topics, default="#")
    for queue in ALL_QUEUES:
        if queue != me.name:
            yield Attempt(f"bind {queue}", bind(queue, EVENTS, own_key))
            yield Attempt(f"unbind {queue}", unbind(queue, EVENTS, own_key))
    for source, destination in product(EXCHANGES, EXCHANGES):
        # The broker cannot refuse these to who may write the one and read the other. They route
        # nothing, and set-up removes them: see tests/integration/test_rabbitmq_bindings.py.
        writable = {EVENTS, REPLAYS} if me.publishes else {REPLAYS}
        may = source == EVENTS and destination in writable and bool(me.topics)
        what = f"bind the exchange {destination} to {source} by {own_key}"
        yield Attempt(what, bind_exchange(destination, source, own_key), may)


def _configuring(me: Queue) -> Iterator[Attempt]:
    for queue in (*ALL_QUEUES, "mine", f"{me.name}.mine", ""):
        what = queue or "a queue that the broker names"
        yield Attempt(f"declare {what}", declare(queue))
    for queue in ALL_QUEUES:
        yield Attempt(f"delete {queue}", delete(queue))
    for exchange in (*OWN_EXCHANGES, "mine"):
        yield Attempt(f"declare the exchange {exchange}", declare_exchange(exchange))
        yield Attempt(f"delete the exchange {exchange}", delete_exchange(exchange))


def what_is_allowed(attempts: list[Attempt], url: str) -> set[str]:
    """Try each on a channel of its own; return those that the broker did not refuse."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    allowed: set[str] = set()
    try:
        for each in attempts:
            if not connection.is_open:  # a refusal may end it
                connection = pika.BlockingConnection(pika.URLParameters(url))
            if _is_allowed(each, connection):
                allowed.add(each.what)
    finally:
        if connection.is_open:
            connection.close()
    return allowed


def _is_allowed(attempt: Attempt, connection: pika.BlockingConnection) -> bool:
    channel = connection.channel()
    try:
        attempt.act(channel)
    except (ChannelClosedByBroker, ConnectionClosedByBroker) as error:
        if error.reply_code not in REFUSALS:
            raise
        return False
    channel.close()
    return True


def publish(exchange: str, key: str, properties: spec.BasicProperties | None = None) -> Act:
    def act(channel: BlockingChannel) -> None:
        channel.confirm_delivery()
        channel.basic_publish(exchange, key, b"{}", properties)

    return act


def consume(queue: str) -> Act:
    def act(channel: BlockingChannel) -> None:
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(queue, lambda *_: None)

    return act


def purge(queue: str) -> Act:
    return lambda channel: channel.queue_purge(queue)


def see(queue: str) -> Act:
    return lambda channel: channel.queue_declare(queue, passive=True)


def bind(queue: str, exchange: str, key: str) -> Act:
    return lambda channel: channel.queue_bind(queue, exchange, key)


def unbind(queue: str, exchange: str, key: str) -> Act:
    return lambda channel: channel.queue_unbind(queue, exchange, key)


def bind_exchange(destination: str, source: str, key: str) -> Act:
    return lambda channel: channel.exchange_bind(destination, source, key)


def declare(queue: str) -> Act:
    return lambda channel: channel.queue_declare(queue, durable=True)


def delete(queue: str) -> Act:
    return lambda channel: channel.queue_delete(queue)


def declare_exchange(exchange: str) -> Act:
    return lambda channel: channel.exchange_declare(exchange, "topic", durable=True)


def delete_exchange(exchange: str) -> Act:
    return lambda channel: channel.exchange_delete(exchange)
