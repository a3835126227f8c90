"""Everything that a service's user can try at the broker, and whether it may.

What is tried is every combination of a user with a type of event, a queue and an exchange.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import NamedTuple

import pika
from pika import spec
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

from shared.messaging.topology import (
    DEAD_LETTERS,
    EVENTS,
    HISTORY,
    REPLAYS,
    Queue,
    dead_queue,
)
from shared.runtime.settings import OPERATOR
from tests.security.every_service import QUEUES, TOPICS

KEYS = [*TOPICS, "nobody.declared_this", "#", "order.*"]
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


REFUSALS = {403, 406, 540}
"""540 is the answer to purging a stream, 406 to another user's id, 403 to everything else."""

READING_HISTORY = {f"consume {HISTORY}", f"see {HISTORY}"}


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


def what_is_allowed(attempts: Iterable[Attempt], url: str) -> set[str]:
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
