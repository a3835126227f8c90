"""What only a real stream does: it loses connections, and drops its oldest segments."""

import struct
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

import pytest
from pika import spec

from shared.errors import BrokerRefused, BrokerUnavailable
from shared.history.retention import TruncatedHistory, truncated_history
from shared.messaging.codec import encode
from shared.messaging.ports.publisher import Message
from shared.messaging.rabbitmq import RabbitBroker
from shared.messaging.rabbitmq.address import parse
from shared.messaging.rabbitmq.management import Management
from shared.messaging.rabbitmq.session import open_session
from shared.messaging.topology import EVENTS, HISTORY, History, Queue, Topology
from tests.containers import Vhost
from tests.contract.places import order_placed
from tests.integration.test_rabbitmq_connections import close_connections, until
from tests.support.order_events import placed
from tests.support.tape import message

SMALL = History(days=30, max_bytes=300_000, segment_bytes=100_000)
TOPOLOGY = Topology(queues=(Queue(name="email", topics=frozenset({"order.placed"})),))


@pytest.fixture
def broker(rabbitmq_vhost: Vhost, request: pytest.FixtureRequest) -> Iterator[RabbitBroker]:
    broker = RabbitBroker(
        rabbitmq_vhost.amqp_url, admin_url=rabbitmq_vhost.admin_url, app=rabbitmq_vhost.name
    )
    # A stream keeps the size of segments that it was made with.
    assert broker.set_up(replace(TOPOLOGY, history=getattr(request, "param", History()))) == []
    yield broker
    broker.close()


def test_a_reading_whose_connection_is_lost_goes_on_without_a_gap_or_a_copy(
    broker: RabbitBroker, rabbitmq_vhost: Vhost
) -> None:
    messages = [order_placed() for _ in range(5_000)]
    broker.publisher().publish(messages)
    history = broker.history()
    reading = history.read(end=history.end())
    read = [each.body for each in islice(reading, 1_200)]

    close_connections(rabbitmq_vhost, f"{rabbitmq_vhost.name} history")
    read += [each.body for each in reading]

    assert read == [each.body for each in messages]


def test_a_header_that_pika_cannot_hold_is_in_nobodys_way(
    broker: RabbitBroker, rabbitmq_vhost: Vhost
) -> None:
    messages = [order_placed() for _ in range(2)]
    broker.publisher().publish(messages[:1])
    with open_session(parse(rabbitmq_vhost.amqp_url)) as session:
        late = TimeTenThousand()  # type: ignore[no-untyped-call]
        session.channel.basic_publish(EVENTS, "order.placed", b"late", late)
    broker.publisher().publish(messages[1:])
    history = broker.history()

    read = [each.body for each in history.read(end=history.end())]

    assert read == [messages[0].body, b"late", messages[1].body]


class TimeTenThousand(spec.BasicProperties):
    """A header holds the first second after the year 9999, where Python's times end."""

    def encode(self) -> list[bytes]:
        table = b"\x01aT" + struct.pack(">Q", 253_402_300_800)
        flags = struct.pack(">H", spec.BasicProperties.FLAG_HEADERS)
        return [flags, struct.pack(">I", len(table)), table]


def test_a_stream_that_is_deleted_under_a_reading_is_not_its_end(
    broker: RabbitBroker, rabbitmq_vhost: Vhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.messaging.rabbitmq.history._TRIES", 2)
    broker.publisher().publish([order_placed()])
    reading = broker.history().read(end=100)
    next(reading)

    Management(rabbitmq_vhost.admin_url).delete("queues", rabbitmq_vhost.name, HISTORY)

    with pytest.raises(BrokerUnavailable, match="shop setup"):
        next(reading)


@pytest.mark.parametrize("broker", [SMALL], ids=["small"], indirect=True)
def test_when_the_oldest_segments_are_dropped_the_history_says_since_when_it_is_kept(
    broker: RabbitBroker,
) -> None:
    publisher, history = broker.publisher(), broker.history()
    day = datetime(2026, 11, 20, tzinfo=UTC)

    def window() -> list[Message]:
        return [message(placed(f"ORD-{n}", occurred_at=day, reason="x" * 400)) for n in range(500)]

    def what_is_left() -> TruncatedHistory | None:
        publisher.publish(window())
        return truncated_history(history)

    assert until(what_is_left, seconds=60) == TruncatedHistory(day)
    first = history.first()
    assert first is not None
    assert list(islice(history.read(end=history.end()), 1)) == [first]


def test_a_stream_that_was_made_anew_ends_where_it_ends(broker: RabbitBroker) -> None:
    event = placed("ORD-1")
    broker.publisher().publish([message(event)])

    read = list(broker.history().read(start=0, end=1_000))

    assert [each.body for each in read] == [encode(event, source="orders")]


def test_a_password_that_is_wrong_is_not_tried_again_and_again(rabbitmq_vhost: Vhost) -> None:
    stranger = RabbitBroker(rabbitmq_vhost.as_user("nobody", "nothing"))

    with pytest.raises(BrokerRefused, match="refuses the user"):
        stranger.history().end()


def test_before_set_up_it_says_what_to_do(rabbitmq_vhost: Vhost) -> None:
    with pytest.raises(BrokerUnavailable, match="shop setup"):
        RabbitBroker(rabbitmq_vhost.amqp_url).history().end()
