"""What only a real stream does: it loses connections and drops its oldest segments."""

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
from tests.contract.brokers import order_placed
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
    # A stream keeps the segment size that it was declared with.
    assert broker.set_up(replace(TOPOLOGY, history=getattr(request, "param", History()))) == []
    yield broker
    broker.close()


def test_reading_continues_after_a_lost_connection_without_gap_or_duplicate(
    broker: RabbitBroker, rabbitmq_vhost: Vhost
) -> None:
    messages = [order_placed() for _ in range(5_000)]
    broker.publisher().publish(messages)
    history = broker.history()
    records = history.read(end=history.end())
    bodies = [record.body for record in islice(records, 1_200)]

    close_connections(rabbitmq_vhost, f"{rabbitmq_vhost.name} history")
    bodies += [record.body for record in records]

    assert bodies == [message.body for message in messages]


class HostileProperties(spec.BasicProperties):
    """Properties with a table of headers as it is on the wire."""

    def __init__(self, headers: bytes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._table = struct.pack(">I", len(headers)) + headers

    def encode(self) -> list[bytes]:
        return [struct.pack(">H", spec.BasicProperties.FLAG_HEADERS), self._table]


FAR_FUTURE = b"\x01aT" + struct.pack(">Q", 253_402_300_800)
FORGED_OFFSET = b"\x0fx-stream-offsetl" + struct.pack(">q", 3)


def nested(depth: int) -> bytes:
    """A header with arrays within arrays."""
    value = b""
    for _ in range(depth):
        value = b"A" + struct.pack(">I", len(value)) + value
    return b"\x01a" + value


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(FAR_FUTURE, id="time-after-9999"),
        pytest.param(nested(2_000), id="nested"),
        pytest.param(FORGED_OFFSET, id="forged-offset"),
        pytest.param(FORGED_OFFSET + FAR_FUTURE, id="forged-offset-and-time"),
        pytest.param(b"\x01aS" + struct.pack(">I", 25) + FORGED_OFFSET, id="offset-in-text"),
    ],
)
def test_a_message_with_hostile_headers_is_read_like_any_other(
    broker: RabbitBroker, rabbitmq_vhost: Vhost, headers: bytes
) -> None:
    messages = [order_placed() for _ in range(3)]
    broker.publisher().publish(messages[:2])
    with open_session(parse(rabbitmq_vhost.amqp_url)) as session:
        session.channel.basic_publish(
            EVENTS, "order.placed", b"hostile", HostileProperties(headers)
        )
    history = broker.history()
    end_after_hostile = history.end()
    broker.publisher().publish(messages[2:])

    records = list(history.read(end=history.end()))

    expected = [messages[0].body, messages[1].body, b"hostile", messages[2].body]
    assert [record.body for record in records] == expected
    offsets = [record.offset for record in records]
    assert offsets == sorted(set(offsets))
    assert offsets[2] + 1 == end_after_hostile
    assert list(history.read(start=offsets[2], end=end_after_hostile)) == [records[2]]


def test_a_stream_that_is_deleted_while_it_is_read_is_an_error(
    broker: RabbitBroker, rabbitmq_vhost: Vhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.messaging.rabbitmq.history._MAX_FAILURES", 2)
    broker.publisher().publish([order_placed()])
    records = broker.history().read(end=100)
    next(records)

    Management(rabbitmq_vhost.admin_url).delete("queues", rabbitmq_vhost.name, HISTORY)

    with pytest.raises(BrokerUnavailable, match="shop setup"):
        next(records)


@pytest.mark.parametrize("broker", [SMALL], ids=["small"], indirect=True)
def test_when_the_oldest_segments_are_dropped_the_history_is_known_as_truncated(
    broker: RabbitBroker,
) -> None:
    publisher, history = broker.publisher(), broker.history()
    day = datetime(2026, 11, 20, tzinfo=UTC)

    def messages() -> list[Message]:
        return [message(placed(f"ORD-{n}", occurred_at=day, reason="x" * 400)) for n in range(500)]

    def truncation() -> TruncatedHistory | None:
        publisher.publish(messages())
        return truncated_history(history)

    assert until(truncation, seconds=60) == TruncatedHistory(day)
    first = history.first()
    assert first is not None
    assert list(islice(history.read(end=history.end()), 1)) == [first]


def test_an_end_beyond_the_stream_is_not_waited_for(broker: RabbitBroker) -> None:
    event = placed("ORD-1")
    broker.publisher().publish([message(event)])

    records = list(broker.history().read(start=0, end=1_000))

    assert [record.body for record in records] == [encode(event, source="orders")]


def test_a_wrong_password_is_not_retried(rabbitmq_vhost: Vhost) -> None:
    stranger = RabbitBroker(rabbitmq_vhost.as_user("nobody", "nothing"))

    with pytest.raises(BrokerRefused, match="refuses the user"):
        stranger.history().end()


def test_before_set_up_the_error_names_the_command(rabbitmq_vhost: Vhost) -> None:
    with pytest.raises(BrokerUnavailable, match="shop setup"):
        RabbitBroker(rabbitmq_vhost.amqp_url).history().end()
