"""Every service publishes every type of event in every way, and is believed as it declares.

What the broker lets pass is judged as each service that receives it, and each reader of the
history, judges it.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import product
from typing import NamedTuple

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from shared.errors import ForgedEvent
from shared.events import DomainEvent, UnknownEvent, topic_of
from shared.events.versions import contract_of
from shared.messaging.authenticity import (
    BrokerUsers,
    require_authentic,
    require_authentic_record,
)
from shared.messaging.codec import CONTENT_TYPE, encode, read
from shared.messaging.ports.consumer import Delivery, Outcome
from shared.messaging.ports.history import HistoryRecord
from shared.messaging.rabbitmq import RabbitBroker
from shared.messaging.topology import EVENTS, REPLAYS, topics_matched
from shared.runtime.settings import OPERATOR
from shared.testing import example
from tests.containers import RabbitServer
from tests.contract.brokers import receive, settle_all
from tests.security.every_service import (
    CONTRACTS,
    QUEUES,
    SERVICES,
    TOPICS,
    Granted,
    SampleMade,
    granted,
)

EVENTS_OF_ALL_TYPES: list[DomainEvent] = [
    *(SampleMade() if each is SampleMade else example(each) for each in CONTRACTS),
    UnknownEvent(unknown_type="never.declared.v1"),
    UnknownEvent(unknown_type="order.placed.v99"),
]
KEYS = [*TOPICS, "never.declared"]


class Forgery(NamedTuple):
    """A way to publish an event.

    Attributes:
        source: the service that the body names.
        user: the broker's user that the message names; empty for none.
    """

    event: DomainEvent
    source: str
    exchange: str
    key: str
    user: str


Claim = tuple[str, str, str, str]
"""The type, the source, the routing key and the broker's user of a message."""


@pytest.fixture
def broker(rabbitmq_server: RabbitServer) -> Iterator[Granted]:
    with granted(rabbitmq_server) as broker:
        yield broker


@pytest.mark.parametrize("attacker", SERVICES)
def test_a_service_is_believed_what_it_declares_and_nothing_else(
    broker: Granted, attacker: str
) -> None:
    sent = publish(broker.url(attacker), forgeries(attacker))

    believed: set[Claim] = set()
    for name in SERVICES:
        expected = sum(is_sent_to(name, each) for each in sent)
        for delivery in received(broker.url(name), name, expected):
            if is_believed(name, delivery):
                believed.add(claim_of(delivery))

    assert believed == declared_by(attacker)


def test_a_reader_of_the_history_believes_what_is_declared_and_nothing_else(
    broker: Granted,
) -> None:
    for name in SERVICES:
        publish(broker.url(name), forgeries(name))

    with closing(RabbitBroker(broker.url(OPERATOR))) as operator:
        history = operator.history()
        records = list(history.read(end=history.end()))

    assert {claim_of(each) for each in records if is_genuine(each)} == {
        (type_, source, key, user)
        for name in SERVICES
        for type_, source, key, owner in declared_by(name)
        for user in (owner, "")  # a record may be older than the users
    }


def forgeries(attacker: str) -> Iterator[Forgery]:
    """Each type with each key: as the attacker's own event and as the publisher's."""
    for event in EVENTS_OF_ALL_TYPES:
        for source in sorted({attacker, *publishers_of(event)}):
            for key, user in product(KEYS, (attacker, "")):
                yield Forgery(event, source, EVENTS, key, user)
            for name in SERVICES.keys() - {attacker}:  # to itself it may replay what it wants
                yield Forgery(event, source, REPLAYS, name, attacker)


def publishers_of(event: DomainEvent) -> set[str]:
    """The services that declare a topic, also of a version that they do not know."""
    topic = topic_of(event.type)
    return {name for name, queue in QUEUES.items() if topic in queue.publishes}


def declared_by(name: str) -> set[Claim]:
    """What others must believe; of an unknown version the topic and the publisher are checked."""
    return {
        (event.type, name, topic_of(event.type), name)
        for event in EVENTS_OF_ALL_TYPES
        if name in publishers_of(event)
    }


def publish(url: str, forgeries: Iterable[Forgery]) -> list[Forgery]:
    """Publish each; returns those that the broker accepted."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        return [each for each in forgeries if is_accepted(each, connection)]


def is_accepted(forgery: Forgery, connection: pika.BlockingConnection) -> bool:
    channel = connection.channel()
    channel.confirm_delivery()
    properties = pika.BasicProperties(  # type: ignore[no-untyped-call]
        content_type=CONTENT_TYPE, user_id=forgery.user or None
    )
    body = encode(forgery.event, source=forgery.source)
    try:
        channel.basic_publish(forgery.exchange, forgery.key, body, properties)
    except ChannelClosedByBroker as refused:
        if refused.reply_code != 403:
            raise
        return False
    channel.close()
    return True


def is_sent_to(name: str, forgery: Forgery) -> bool:
    """Whether a service receives what the broker accepted."""
    if forgery.exchange == REPLAYS:
        return forgery.key == name
    return topics_matched(QUEUES[name].topics, forgery.key)


def received(url: str, name: str, count: int) -> list[Delivery]:
    """As many messages from a service's queue, which are settled."""
    with closing(RabbitBroker(url)) as broker:
        if not count:
            assert broker.depth(name).ready == 0
            return []
        consumer = broker.consumer(name, prefetch=count, slow_start=False)
        taken = receive(consumer, count)
        settle_all(consumer, taken, Outcome.DONE)
        return taken


def is_believed(reader: str, delivery: Delivery) -> bool:
    """As the service decides, before anything else."""
    envelope = read(delivery.body)
    contract = contract_of(envelope.type, SERVICES[reader].contracts.get(envelope.type))
    users = BrokerUsers(replaying=frozenset({reader, OPERATOR}))
    try:
        require_authentic(delivery, envelope, contract, users=users)
    except ForgedEvent:
        return False
    return True


def is_genuine(record: HistoryRecord) -> bool:
    """As each reader of the history decides."""
    envelope = read(record.body)
    try:
        require_authentic_record(record, envelope, contract_of(envelope.type))
    except ForgedEvent:
        return False
    return True


def claim_of(message: Delivery | HistoryRecord) -> Claim:
    envelope = read(message.body)
    return envelope.type, envelope.source.removeprefix("/"), message.topic, message.user
