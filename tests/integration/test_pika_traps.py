"""Known problems of pika; each test fails without its workaround."""

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from types import SimpleNamespace

import pytest
from pika import frame, spec

from shared.errors import BrokerRefused, BrokerUnavailable
from shared.messaging.ports.consumer import Outcome
from shared.messaging.rabbitmq import RabbitBroker, address, publisher
from shared.messaging.rabbitmq.batch import Batch
from shared.messaging.rabbitmq.session import open_session
from shared.messaging.topology import Queue, Retry, Topology
from tests.containers import Vhost
from tests.contract.brokers import TIMEOUT, order_placed, receive, send, settle_all
from tests.support.waiting import eventually

EMAIL = Queue(name="email", topics=frozenset({"order.placed"}), retry=Retry(delay=0.1))


@pytest.fixture
def broker(rabbitmq_vhost: Vhost) -> Iterator[RabbitBroker]:
    broker = RabbitBroker(rabbitmq_vhost.amqp_url, admin_url=rabbitmq_vhost.admin_url)
    assert broker.set_up(Topology(queues=(EMAIL,))) == []
    yield broker
    broker.close()


class CloseAfterHeader(socketserver.BaseRequestHandler):
    """Closes the connection after the protocol header, as a broker does that is still starting."""

    def handle(self) -> None:
        self.request.recv(8)


@contextmanager
def frozen() -> Iterator[tuple[int, str]]:
    """A port that accepts connections and never answers, and the error that this causes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1], "does not answer"


@contextmanager
def starting() -> Iterator[tuple[int, str]]:
    """A port that closes each connection, and the error that this causes."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), CloseAfterHeader) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], "is still starting"
        server.shutdown()


def test_a_handler_slower_than_the_heartbeat_keeps_its_connection(
    broker: RabbitBroker, rabbitmq_vhost: Vhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """https://github.com/pika/pika/issues/1104."""
    messages = [order_placed(), order_placed()]
    send(broker, *messages)
    monkeypatch.setattr(address, "HEARTBEAT", 1)
    short_heartbeat = RabbitBroker(rabbitmq_vhost.amqp_url)
    consumer = short_heartbeat.consumer("email", prefetch=1)
    deliveries = receive(consumer)

    threading.Event().wait(4)  # the broker closes a connection after two missed heartbeats
    settle_all(consumer, deliveries, Outcome.DONE)

    deliveries += receive(consumer)
    assert [(taken.body, taken.attempt) for taken in deliveries] == [
        (message.body, 1) for message in messages
    ]
    short_heartbeat.close()


def test_a_silent_broker_is_noticed_within_a_minute(broker: RabbitBroker) -> None:
    """Within 2 × (heartbeat + 5) seconds; with the broker's default it would be two minutes."""
    send(broker, order_placed())
    consumer = broker.consumer("email", prefetch=1)
    receive(consumer)

    assert consumer._connection is not None
    assert consumer._connection.params.heartbeat in range(10, 16)  # as negotiated


def test_what_arrives_while_the_prefetch_is_raised_counts_no_attempt(broker: RabbitBroker) -> None:
    """The consumer is cancelled for that, and pika rejects what arrives meanwhile."""
    consumer = broker.consumer("email", prefetch=20, slow_start=False)
    send(broker, order_placed())
    taken = receive(consumer)
    consumer._current_prefetch = 1  # as during a slow start, which ends now
    others_are_sent = threading.Event()

    def settle_before_reading() -> None:
        others_are_sent.wait(TIMEOUT)
        consumer._settle([(taken[0], Outcome.DONE)])

    consumer.submit(settle_before_reading)
    send(broker, *[order_placed() for _ in range(10)])
    eventually(lambda: broker.depth("email").ready == 0)
    others_are_sent.set()

    assert [delivery.attempt for delivery in receive(consumer, 10)] == [1] * 10


@pytest.mark.parametrize("failing", [frozen, starting])
def test_connecting_to_a_broker_that_is_not_ready_fails_and_succeeds_once_it_is(
    broker: RabbitBroker,
    monkeypatch: pytest.MonkeyPatch,
    failing: Callable[[], AbstractContextManager[tuple[int, str]]],
) -> None:
    monkeypatch.setattr(address, "CONNECT_TIMEOUT", 0.5)
    monkeypatch.setattr(publisher, "_UNAVAILABLE_TIMEOUT", 1.0)
    with (
        failing() as (port, error),
        closing(RabbitBroker(f"amqp://a:b@127.0.0.1:{port}")) as not_ready,
    ):
        consumer, sending = not_ready.consumer("email", prefetch=1), not_ready.publisher()

        with pytest.raises(BrokerUnavailable, match=error) as raised:
            not_ready.probe()
        with pytest.raises(BrokerUnavailable, match=error):
            sending.publish([order_placed()])
        assert not isinstance(raised.value, BrokerRefused)
        assert consumer.take(1, wait=0) == []
        consumer.address = sending.address = broker._address  # it is ready now
        monkeypatch.setattr(publisher, "_UNAVAILABLE_TIMEOUT", TIMEOUT)

        assert sending.publish([order_placed()]) == [None]
        assert len(receive(consumer)) == 1


def test_an_unknown_host_is_named() -> None:
    with pytest.raises(BrokerUnavailable, match=r"host name 'nowhere\.invalid' cannot be resolved"):
        RabbitBroker("amqp://a:b@nowhere.invalid").probe()


def test_a_value_error_of_pika_means_an_unavailable_broker(
    rabbitmq_vhost: Vhost,
) -> None:
    """https://github.com/pika/pika/issues/1291."""
    with pytest.raises(BrokerUnavailable), open_session(address.parse(rabbitmq_vhost.amqp_url)):
        raise ValueError("Timeout closed before call")


class FakeChannel:
    """The parts of a channel that a publisher uses."""

    channel_number = 1
    params = SimpleNamespace(frame_max=131_072)

    def __init__(self) -> None:
        self.connection = self
        self.writes: list[list[bytes]] = []
        self._output_marshaled_frames = self.writes.append

    def open(self, sending: publisher.RabbitPublisher) -> None:
        """Make it the publisher's new channel."""
        sending._channel, sending._ready, sending._next_tag = self, True, 1  # type: ignore[assignment]
        sending._send()

    @staticmethod
    def confirm(sending: publisher.RabbitPublisher, tag: int, *, multiple: bool) -> None:
        answer = spec.Basic.Ack(tag, multiple=multiple)  # type: ignore[no-untyped-call]
        sending._answered(frame.Method(1, answer))


@pytest.fixture
def sending() -> publisher.RabbitPublisher:
    """A publisher with as many messages to send as fit into its window."""
    sending = publisher.RabbitPublisher(address.parse("amqp://a:b@nowhere.invalid"), name="some")
    sending._waiting.append(Batch([order_placed() for _ in range(publisher.WINDOW)]))
    return sending


def test_many_are_sent_at_once_and_confirmed_in_any_order(
    sending: publisher.RabbitPublisher,
) -> None:
    """Waiting for each confirm would cost a round trip and a disk sync each."""
    [batch] = sending._waiting
    (channel := FakeChannel()).open(sending)
    unconfirmed = []

    for tag, multiple in ((400, False), (200, True), (500, False), (499, True)):
        channel.confirm(sending, tag, multiple=multiple)
        unconfirmed.append(len(batch.unconfirmed))

    assert len(channel.writes) == 1
    assert unconfirmed == [499, 299, 298, 0]
    assert batch.finished.is_set()


def test_what_was_unconfirmed_when_the_connection_was_lost_is_sent_again(
    sending: publisher.RabbitPublisher,
) -> None:
    [batch] = sending._waiting
    (first := FakeChannel()).open(sending)
    first.confirm(sending, 200, multiple=True)

    sending._on_disconnected()
    (second := FakeChannel()).open(sending)

    assert list(batch.unconfirmed.values()) == list(range(200, 500))
    second.confirm(sending, 300, multiple=True)
    assert batch.finished.is_set()


def test_while_a_batch_awaits_its_last_confirms_the_next_is_sent(
    sending: publisher.RabbitPublisher,
) -> None:
    """Otherwise the broker would be idle at the end of each batch."""
    [first] = sending._waiting
    (channel := FakeChannel()).open(sending)
    second = Batch([order_placed() for _ in range(publisher.WINDOW)])
    sending._waiting.append(second)

    channel.confirm(sending, 300, multiple=True)

    assert (len(first.unconfirmed), len(second.unconfirmed)) == (200, 300)
    channel.confirm(sending, 800, multiple=True)
    assert first.finished.is_set()
    channel.confirm(sending, 1000, multiple=True)
    assert second.finished.is_set()


def test_after_a_message_of_two_batches_closed_the_channel_each_is_sent_alone(
    sending: publisher.RabbitPublisher,
) -> None:
    """It is not known which message it was, and the others must be sent."""
    second = Batch([order_placed()])
    sending._waiting.append(second)
    (channel := FakeChannel()).open(sending)
    channel.confirm(sending, 498, multiple=True)
    sending._send()
    [first, _] = sending._waiting
    assert (len(first.unconfirmed), len(second.unconfirmed)) == (2, 1)

    def unconfirmed() -> tuple[int, int]:
        return len(first.unconfirmed), len(second.unconfirmed)

    sending._isolate_poison("too large")
    channel.open(sending)
    assert unconfirmed() == (1, 0)
    channel.confirm(sending, 1, multiple=False)
    assert unconfirmed() == (1, 0)
    sending._isolate_poison("too large")
    channel.open(sending)
    assert unconfirmed() == (0, 1)
    channel.confirm(sending, 1, multiple=False)

    assert [reason for reason in first.reasons if reason] == ["the broker refuses it: too large"]
    assert second.reasons == [None]
    assert first.finished.is_set()
    assert second.finished.is_set()
