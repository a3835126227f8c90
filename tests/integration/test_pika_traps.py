"""What is known to go wrong with pika; each test fails without its remedy."""

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


class HangUp(socketserver.BaseRequestHandler):
    """As a broker that is still starting: it hears the first word, and hangs up."""

    def handle(self) -> None:
        self.request.recv(8)


@contextmanager
def frozen() -> Iterator[tuple[int, str]]:
    """A port on which all connect and nobody answers; and what that is called."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1], "does not answer"


@contextmanager
def starting() -> Iterator[tuple[int, str]]:
    """A port on which everybody is hung up on; and what that is called."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), HangUp) as server:
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
    impatient = RabbitBroker(rabbitmq_vhost.amqp_url)
    consumer = impatient.consumer("email", prefetch=1)
    taken = receive(consumer)

    threading.Event().wait(4)  # the broker hangs up on who is silent for two or three heartbeats
    settle_all(consumer, taken, Outcome.DONE)

    taken += receive(consumer)
    assert [(each.body, each.attempt) for each in taken] == [(each.body, 1) for each in messages]
    impatient.close()


def test_a_silent_broker_is_noticed_within_a_minute(broker: RabbitBroker) -> None:
    """That is 2 × (heartbeat + 5); the broker's own proposal would make it two."""
    send(broker, order_placed())
    consumer = broker.consumer("email", prefetch=1)
    receive(consumer)

    assert consumer._connection is not None
    assert consumer._connection.params.heartbeat in range(10, 16)  # as both have agreed


def test_what_arrives_while_the_prefetch_is_raised_counts_no_attempt(broker: RabbitBroker) -> None:
    """The consumer is cancelled for it, and meanwhile pika rejects what arrives."""
    consumer = broker.consumer("email", prefetch=20, slow_start=False)
    send(broker, order_placed())
    taken = receive(consumer)
    consumer._taken_at_once = 1  # as of one that was slow_start until now
    others_are_there = threading.Event()

    def settle_unread() -> None:
        others_are_there.wait(TIMEOUT)
        consumer._settle([(taken[0], Outcome.DONE)])

    consumer.call(settle_unread)
    send(broker, *[order_placed() for _ in range(10)])
    eventually(lambda: broker.depth("email").ready == 0)
    others_are_there.set()

    assert [each.attempt for each in receive(consumer, 10)] == [1] * 10


@pytest.mark.parametrize("trouble", [frozen, starting])
def test_who_connects_when_the_broker_cannot_is_told_and_gets_through_later(
    broker: RabbitBroker,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Callable[[], AbstractContextManager[tuple[int, str]]],
) -> None:
    monkeypatch.setattr(address, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(publisher, "_PATIENCE", 1.0)
    with trouble() as (port, told), closing(RabbitBroker(f"amqp://a:b@127.0.0.1:{port}")) as away:
        consumer, sending = away.consumer("email", prefetch=1), away.publisher()

        with pytest.raises(BrokerUnavailable, match=told) as raised:
            away.probe()
        with pytest.raises(BrokerUnavailable, match=told):
            sending.publish([order_placed()])
        assert not isinstance(raised.value, BrokerRefused)
        assert consumer.take(1, wait=0) == []
        consumer.address = sending.address = broker._address  # it is there after all
        monkeypatch.setattr(publisher, "_PATIENCE", TIMEOUT)

        assert sending.publish([order_placed()]) == [None]
        assert len(receive(consumer)) == 1


def test_a_host_that_nobody_knows_is_told_by_name() -> None:
    with pytest.raises(BrokerUnavailable, match=r"host name 'nowhere\.invalid' is not known"):
        RabbitBroker("amqp://a:b@nowhere.invalid").probe()


def test_what_pika_raises_after_a_loss_is_an_unavailable_broker(rabbitmq_vhost: Vhost) -> None:
    """https://github.com/pika/pika/issues/1291."""
    with pytest.raises(BrokerUnavailable), open_session(address.parse(rabbitmq_vhost.amqp_url)):
        raise ValueError("Timeout closed before call")


class Wire:
    """What a publisher needs of a channel."""

    channel_number = 1
    params = SimpleNamespace(frame_max=131_072)

    def __init__(self) -> None:
        self.connection = self
        self.writes: list[list[bytes]] = []
        self._output_marshaled_frames = self.writes.append

    def carry(self, sending: publisher.RabbitPublisher) -> None:
        """As after a connection."""
        sending._channel, sending._ready, sending._next_tag = self, True, 1  # type: ignore[assignment]
        sending._pump()

    @staticmethod
    def confirm(sending: publisher.RabbitPublisher, tag: int, *, multiple: bool) -> None:
        answer = spec.Basic.Ack(tag, multiple=multiple)  # type: ignore[no-untyped-call]
        sending._answered(frame.Method(1, answer))


@pytest.fixture
def sending() -> publisher.RabbitPublisher:
    """A publisher with a window's messages to send."""
    sending = publisher.RabbitPublisher(address.parse("amqp://a:b@nowhere.invalid"), name="some")
    sending._calls.append(Batch([order_placed() for _ in range(publisher.WINDOW)]))
    return sending


def test_many_are_sent_at_once_and_confirmed_in_any_order(
    sending: publisher.RabbitPublisher,
) -> None:
    """Waiting for each confirm would cost a round trip and a sync to disk each."""
    [batch] = sending._calls
    (wire := Wire()).carry(sending)
    unconfirmed = []

    for tag, multiple in ((400, False), (200, True), (500, False), (499, True)):
        wire.confirm(sending, tag, multiple=multiple)
        unconfirmed.append(len(batch.unconfirmed))

    assert len(wire.writes) == 1
    assert unconfirmed == [499, 299, 298, 0]
    assert batch.finished.is_set()


def test_what_was_unconfirmed_when_the_connection_was_lost_is_sent_again(
    sending: publisher.RabbitPublisher,
) -> None:
    [batch] = sending._calls
    (first := Wire()).carry(sending)
    first.confirm(sending, 200, multiple=True)

    sending._lost()
    (second := Wire()).carry(sending)

    assert list(batch.unconfirmed.values()) == list(range(200, 500))
    second.confirm(sending, 300, multiple=True)
    assert batch.finished.is_set()


def test_while_one_waits_for_its_last_confirms_the_next_is_sent(
    sending: publisher.RabbitPublisher,
) -> None:
    """Else the broker would have less to do at the end of each batch."""
    [first] = sending._calls
    (wire := Wire()).carry(sending)
    second = Batch([order_placed() for _ in range(publisher.WINDOW)])
    sending._calls.append(second)

    wire.confirm(sending, 300, multiple=True)

    assert (len(first.unconfirmed), len(second.unconfirmed)) == (200, 300)
    wire.confirm(sending, 800, multiple=True)
    assert first.finished.is_set()
    wire.confirm(sending, 1000, multiple=True)
    assert second.finished.is_set()


def test_after_one_of_two_batches_closed_the_channel_each_is_sent_alone(
    sending: publisher.RabbitPublisher,
) -> None:
    """Nobody knows whose fault it was, and the others must go on."""
    second = Batch([order_placed()])
    sending._calls.append(second)
    (wire := Wire()).carry(sending)
    wire.confirm(sending, 498, multiple=True)
    sending._pump()
    [first, _] = sending._calls
    assert (len(first.unconfirmed), len(second.unconfirmed)) == (2, 1)

    def alone() -> tuple[int, int]:
        return len(first.unconfirmed), len(second.unconfirmed)

    sending._blame("too large")
    wire.carry(sending)
    assert alone() == (1, 0)
    wire.confirm(sending, 1, multiple=False)
    assert alone() == (1, 0)
    sending._blame("too large")
    wire.carry(sending)
    assert alone() == (0, 1)
    wire.confirm(sending, 1, multiple=False)

    assert [each for each in first.reasons if each] == ["the broker refuses it: too large"]
    assert second.reasons == [None]
    assert first.finished.is_set()
    assert second.finished.is_set()
