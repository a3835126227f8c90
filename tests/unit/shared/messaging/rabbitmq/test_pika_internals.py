"""Each test fails when a new pika changes what `pika_internals` relies on."""

import math
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pika
import pytest
from pika import data, frame, spec
from pika.adapters.utils import connection_workflow as workflow
from pika.channel import Channel
from pika.exceptions import AMQPConnectionError, IncompatibleProtocolError

from shared.messaging.rabbitmq import pika_internals

SERVER = {"product": "RabbitMQ", "version": "4.3.1"}
PERMANENT = spec.BasicProperties(delivery_mode=2, type="order.placed.v1")  # type: ignore[no-untyped-call]

FAR_FUTURE = b"T" + struct.pack(">Q", 253_402_300_800)
"""The first second after the year 9999."""
NOT_A_NUMBER = b"d" + struct.pack(">d", math.nan)


def array(*values: bytes) -> bytes:
    joined = b"".join(values)
    return b"A" + struct.pack(">I", len(joined)) + joined


def table(**values: bytes) -> bytes:
    joined = b"".join(bytes([len(key)]) + key.encode() + value for key, value in values.items())
    return b"F" + struct.pack(">I", len(joined)) + joined


def nested(depth: int) -> bytes:
    value = b""
    for _ in range(depth):
        value = array(value)
    return value


def decode(headers: bytes) -> spec.BasicProperties:
    """The properties of a content header's frame with this table of headers."""
    flags = spec.BasicProperties.FLAG_HEADERS | spec.BasicProperties.FLAG_TYPE
    payload = struct.pack(">HHQH", 60, 0, 2, flags) + headers[1:] + b"\x0forder.placed.v1"
    encoded = struct.pack(">BHL", spec.FRAME_HEADER, 1, len(payload)) + payload + b"\xce"

    length, decoded = frame.decode_frame(encoded)

    assert length == len(encoded)
    assert isinstance(decoded, frame.Header)
    assert decoded.body_size == 2
    return decoded.properties


def parameters(server: socket.socket) -> pika.ConnectionParameters:
    host, port = server.getsockname()
    return pika.ConnectionParameters(host, port, heartbeat=0, stack_timeout=2)


class FakeAmqpServer:
    """Accepts one connection and answers what a client needs to consume.

    Attributes:
        methods: those that the client has sent.
        received: the bytes that it has sent.
        closed: the client has closed the socket.
    """

    def __init__(self) -> None:
        self.methods: list[object] = []
        self.received = b""
        self.closed = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def parameters(self) -> pika.ConnectionParameters:
        return parameters(self._server)

    def close(self) -> None:
        self._thread.join(5)
        self._server.close()

    def _serve(self) -> None:
        client, _ = self._server.accept()
        buffer = b""
        with client:
            while chunk := client.recv(65_536):
                self.received += chunk
                buffer += chunk
                length, decoded = frame.decode_frame(buffer)
                while decoded is not None:
                    buffer = buffer[length:]
                    client.sendall(self._answer(decoded))
                    length, decoded = frame.decode_frame(buffer)
        self.closed.set()

    def _answer(self, request: object) -> bytes:
        if isinstance(request, frame.ProtocolHeader):
            return frame.Method(0, spec.Connection.Start(server_properties=SERVER)).marshal()  # type: ignore[no-untyped-call]
        if not isinstance(request, frame.Method):
            return b""
        self.methods.append(request.method)
        encoded: list[bytes] = [
            answer.marshal() for answer in _answers(request.channel_number, request.method)
        ]
        return b"".join(encoded)


def _answers(number: int, request: Any) -> Iterator[frame.Frame]:
    match request:
        case spec.Connection.StartOk():
            yield frame.Method(0, spec.Connection.Tune(0, 131_072, 0))  # type: ignore[no-untyped-call]
        case spec.Connection.Open():
            yield frame.Method(0, spec.Connection.OpenOk())  # type: ignore[no-untyped-call]
        case spec.Connection.Close():
            yield frame.Method(0, spec.Connection.CloseOk())  # type: ignore[no-untyped-call]
        case spec.Channel.Open():
            yield frame.Method(number, spec.Channel.OpenOk())  # type: ignore[no-untyped-call]
        case spec.Channel.Close():
            yield frame.Method(number, spec.Channel.CloseOk())  # type: ignore[no-untyped-call]
        case spec.Basic.Consume(consumer_tag=tag):
            yield frame.Method(number, spec.Basic.ConsumeOk(tag))  # type: ignore[no-untyped-call]
        case spec.Basic.Cancel(nowait=False, consumer_tag=tag):
            # A delivery that was on its way when the client cancelled.
            yield frame.Method(number, spec.Basic.Deliver(tag, 7, False, "events", "key"))  # type: ignore[no-untyped-call] # noqa: FBT003
            yield frame.Header(number, 0, PERMANENT)
            yield frame.Method(number, spec.Basic.CancelOk(tag))  # type: ignore[no-untyped-call]


@pytest.fixture
def broker() -> Iterator[FakeAmqpServer]:
    broker = FakeAmqpServer()
    yield broker
    broker.close()


@pytest.fixture
def channel(broker: FakeAmqpServer) -> Iterator[Channel]:
    """An open channel; its connection's loop runs within `run_until` only."""
    opened: list[Channel] = []

    def open_channel(connection: pika.connection.Connection) -> None:
        connection.channel(on_open_callback=opened.append)

    connection = pika.SelectConnection(broker.parameters, on_open_callback=open_channel)
    run_until(connection, lambda: bool(opened))
    yield opened[0]
    pika_internals.close_socket(connection)
    connection.ioloop.close()


def run_until(connection: pika.SelectConnection, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10

    def check() -> None:
        if condition() or time.monotonic() > deadline:
            connection.ioloop.stop()
        else:
            connection.ioloop.call_later(0.01, check)

    connection.ioloop.call_later(0, check)
    connection.ioloop.start()
    assert condition()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(FAR_FUTURE, None, id="time"),
        pytest.param(NOT_A_NUMBER, None, id="double"),
        pytest.param(b"f" + struct.pack(">f", math.inf), None, id="float"),
        pytest.param(array(FAR_FUTURE, b"t\x01"), [None, True], id="in-array"),
        pytest.param(table(a=NOT_A_NUMBER, b=b"t\x01"), {"a": None, "b": True}, id="in-table"),
    ],
)
def test_a_header_value_that_python_cannot_hold_is_none(value: bytes, expected: object) -> None:
    pika_internals.configure()
    offset = b"l" + struct.pack(">q", 2**32)

    properties = decode(table(first=value, offset=offset))

    assert properties.headers == {"first": expected, "offset": 2**32}
    assert properties.type == "order.placed.v1"


def test_deeply_nested_headers_do_not_hide_the_other_properties() -> None:
    pika_internals.configure()
    offset = b"l" + struct.pack(">q", 2**32)

    properties = decode(table(first=nested(20_000), offset=offset))

    assert properties.headers is not None
    assert properties.headers["offset"] == 2**32
    assert properties.type == "order.placed.v1"


@pytest.mark.parametrize("value", [FAR_FUTURE, NOT_A_NUMBER])
def test_pika_itself_still_fails_on_such_a_header(value: bytes) -> None:
    with pytest.raises((ValueError, OverflowError, OSError)):
        data.decode_value(value, 0)


def test_decodable_headers_are_decoded_as_before() -> None:
    headers = {"count": 3, "text": "ä", "at": datetime(2026, 11, 20, tzinfo=UTC), "list": [1, None]}
    pieces: list[bytes] = []
    data.encode_table(pieces, headers)
    pika_internals.configure()

    properties = decode(b"F" + b"".join(pieces))

    assert properties.headers == headers


def test_the_server_properties_of_a_blocking_connection_are_found(broker: FakeAmqpServer) -> None:
    with pika.BlockingConnection(broker.parameters) as connection:
        assert pika_internals.server_properties(connection) == SERVER


def test_messages_are_written_as_they_were_encoded(
    broker: FakeAmqpServer, channel: Channel
) -> None:
    encoded = [
        pika_internals.encode(
            "events", "key", PERMANENT, body, channel=channel.channel_number, max_frame_bytes=4096
        )
        for body in (b"", b"{}", b"x" * 10_000)
    ]
    before = len(broker.received)

    pika_internals.write(channel, encoded)

    expected = b"".join(encoded)
    run_until(channel.connection, lambda: len(broker.received) == before + len(expected))
    assert broker.received[before:] == expected


@pytest.mark.parametrize("size", [0, 2, 4088, 4089, 10_000])
def test_a_message_is_encoded_as_pika_encodes_it(broker: FakeAmqpServer, size: int) -> None:
    body = bytes(size)
    small_frames = broker.parameters
    small_frames.frame_max = 4096
    with pika.BlockingConnection(small_frames) as connection:
        publishing = connection.channel()
        before = len(broker.received)
        publishing.basic_publish("events", "key", body, PERMANENT, mandatory=True)
        number = publishing.channel_number

    encoded = pika_internals.encode(
        "events", "key", PERMANENT, body, channel=number, max_frame_bytes=4096
    )

    assert broker.received[before:].startswith(encoded)


def test_the_socket_of_a_connection_without_a_loop_is_closed(
    broker: FakeAmqpServer, channel: Channel
) -> None:
    pika_internals.close_socket(channel.connection)

    assert broker.closed.wait(5)


def test_what_arrives_while_a_consumer_is_cancelled_is_not_rejected(
    broker: FakeAmqpServer, channel: Channel
) -> None:
    pika_internals.nack_while_cancelling(channel)
    settlements = (spec.Basic.Nack, spec.Basic.Reject)
    consumer_tag = channel.basic_consume("email", lambda *_: None)

    channel.basic_cancel(consumer_tag, callback=lambda _: None)

    run_until(channel.connection, lambda: isinstance(broker.methods[-1], settlements))
    nack = broker.methods[-1]
    assert isinstance(nack, spec.Basic.Nack)
    assert (nack.delivery_tag, nack.requeue, nack.multiple) == (7, True, False)


def test_pika_itself_still_rejects_what_arrives_then(
    broker: FakeAmqpServer, channel: Channel
) -> None:
    consumer_tag = channel.basic_consume("email", lambda *_: None)

    channel.basic_cancel(consumer_tag, callback=lambda _: None)

    run_until(channel.connection, lambda: isinstance(broker.methods[-1], spec.Basic.Reject))


def confirmed(channel: Channel, cancel: Any) -> list[str]:
    """Which of two consumers were confirmed when the callback of the other one was called."""
    pika_internals.nack_while_cancelling(channel)
    first, second = (channel.basic_consume(each, lambda *_: None) for each in ("email", "orders"))
    calls: list[str] = []
    for name, tag in (("first", first), ("second", second)):
        cancel(
            channel,
            tag,
            lambda ok, name=name, tag=tag: calls.append(
                name if ok.method.consumer_tag == tag else f"{name} too early"
            ),
        )
    run_until(channel.connection, lambda: len(calls) == 2)
    return calls


def test_a_cancelled_consumer_is_confirmed_by_its_own_confirmation(channel: Channel) -> None:
    assert confirmed(channel, pika_internals.cancel) == ["first", "second"]


def test_pika_itself_still_takes_the_confirmation_of_another_consumer(channel: Channel) -> None:
    calls = confirmed(channel, lambda channel, tag, done: channel.basic_cancel(tag, callback=done))

    assert calls == ["first", "second too early"]


def test_a_delivery_can_be_rejected_nevertheless(broker: FakeAmqpServer, channel: Channel) -> None:
    pika_internals.nack_while_cancelling(channel)

    pika_internals.reject(channel, 3, requeue=False)

    run_until(channel.connection, lambda: isinstance(broker.methods[-1], spec.Basic.Reject))
    reject = broker.methods[-1]
    assert isinstance(reject, spec.Basic.Reject)
    assert (reject.delivery_tag, reject.requeue) == (3, False)


def test_a_consumer_that_pika_does_not_know_is_cancelled(
    broker: FakeAmqpServer, channel: Channel
) -> None:
    pika_internals.confirm_cancellation(channel, "consumer")

    run_until(channel.connection, lambda: isinstance(broker.methods[-1], spec.Basic.Cancel))
    cancel = broker.methods[-1]
    assert isinstance(cancel, spec.Basic.Cancel)
    assert (cancel.consumer_tag, cancel.nowait) == ("consumer", True)


REFUSED = ConnectionRefusedError()
STARTING = IncompatibleProtocolError()


@pytest.mark.parametrize(
    ("wrapped", "cause"),
    [
        pytest.param(REFUSED, REFUSED, id="as-it-is"),
        pytest.param(workflow.AMQPConnectorSocketConnectError(REFUSED), REFUSED, id="socket"),
        pytest.param(workflow.AMQPConnectorAMQPHandshakeError(STARTING), STARTING, id="handshake"),
        pytest.param(
            workflow.AMQPConnectionWorkflowFailed(
                [STARTING, workflow.AMQPConnectorSocketConnectError(REFUSED)]
            ),
            REFUSED,
            id="last-of-several",
        ),
        pytest.param(
            AMQPConnectionError(workflow.AMQPConnectorSocketConnectError(REFUSED)),
            REFUSED,
            id="blocking-connection",
        ),
    ],
)
def test_the_cause_of_a_failed_connection_is_found(
    wrapped: BaseException, cause: BaseException
) -> None:
    assert pika_internals.cause_of(wrapped) is cause


def test_a_broker_that_does_not_answer_is_a_timeout_of_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = parameters(server)
        silent.stack_timeout = 0.2

        with pytest.raises(pika_internals.ConnectError) as raised:
            pika.BlockingConnection(silent)

    assert isinstance(pika_internals.cause_of(raised.value), pika_internals.ConnectTimeout)
