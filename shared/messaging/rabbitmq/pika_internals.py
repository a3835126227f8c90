"""Every use of pika beyond its documented API: what is used, and why.

tests/unit/shared/messaging/rabbitmq/test_pika_internals.py checks what each function relies on.
"""

from collections.abc import Callable
from functools import lru_cache, partial

import pika
from pika import data, frame, spec
from pika.adapters.utils import connection_workflow as workflow
from pika.adapters.utils import io_services_utils
from pika.channel import Channel
from pika.exceptions import AMQPConnectionError

from shared.messaging.rabbitmq import field_tables

ConnectError = workflow.AMQPConnectorException
"""A connection could not be opened; neither an AMQPError nor an OSError."""

ConnectTimeout = workflow.AMQPConnectorStackTimeout
"""The broker accepted a connection and sent nothing in time."""

_RECEIVE_BYTES = 128 * 1024
"""Bytes of one read from a socket. With pika's 4 KiB each frame of 128 KiB is copied 32 times."""


def configure() -> None:
    """Bound what pika does with messages of others; to be called before connecting, repeatable.

    pika decodes headers by recursion, and closes the connection on a value that Python cannot
    hold, again at each redelivery: one message would stop a consumer, and could be neither listed
    nor removed.

    Source: https://github.com/pika/pika/issues/1698
    """
    data.decode_table = field_tables.decode
    io_services_utils._AsyncTransportBase._MAX_RECV_BYTES = _RECEIVE_BYTES  # noqa: SLF001


def cause_of(error: BaseException) -> BaseException:
    """The error inside the ones that pika's connection workflow wraps around it."""
    inner: object = None
    if isinstance(error, workflow.AMQPConnectionWorkflowFailed):
        inner = error.exceptions[-1]
    elif isinstance(error, workflow.AMQPConnectorPhaseErrorBase):
        inner = error.exception
    elif type(error) is AMQPConnectionError and error.args:
        inner = error.args[0]
    return cause_of(inner) if isinstance(inner, BaseException) else error


def server_properties(connection: pika.BlockingConnection) -> dict[str, object] | None:
    """The broker's properties, which a BlockingConnection does not expose."""
    return connection._impl.server_properties  # noqa: SLF001


def close_socket(connection: pika.SelectConnection) -> None:
    """Close the socket of a connection whose loop has ended, if pika has not closed it.

    pika's own `abort` closes it in a callback of the loop, which no longer runs.
    """
    transport = connection._transport  # noqa: SLF001
    if transport is not None:
        transport._close_and_finalize()  # noqa: SLF001


def nack_while_cancelling(channel: Channel) -> None:
    """Requeue uncounted what arrives while a consumer is being cancelled.

    pika rejects it, which RabbitMQ counts as a failed attempt. To reject a delivery on this channel
    use `reject`.
    """
    channel.basic_reject = partial(_nack, channel)  # type: ignore[method-assign]


def _nack(channel: Channel, tag: int = 0, requeue: bool = True) -> None:  # noqa: FBT001, FBT002 - as basic_reject
    channel.basic_nack(tag, requeue=requeue)


def reject(channel: Channel, tag: int, *, requeue: bool) -> None:
    """Reject a delivery, also on a channel that nacks while cancelling."""
    Channel.basic_reject(channel, tag, requeue=requeue)


def cancel(channel: Channel, consumer_tag: str, done: Callable[[object], object]) -> None:
    """Cancel a consumer, and call `done` when the broker has confirmed it.

    pika would call it at the next confirmation, even if that is of another consumer which was
    cancelled before.
    """
    confirmed = {"consumer_tag": consumer_tag}
    channel.callbacks.add(channel.channel_number, spec.Basic.CancelOk, done, arguments=confirmed)
    # With a callback, so that pika requeues what still arrives for it.
    channel.basic_cancel(consumer_tag, callback=lambda _: None)


def confirm_cancellation(channel: Channel, consumer_tag: str) -> None:
    """Cancel a consumer that the broker has cancelled, which pika refuses as unknown.

    Without it, settling a delivery revives a consumer that timed out, and all that it is then sent
    fails with the channel.

    Source: https://github.com/rabbitmq/rabbitmq-server/issues/17317
    """
    cancel = spec.Basic.Cancel(consumer_tag, nowait=True)  # type: ignore[no-untyped-call]
    channel._send_method(cancel)  # noqa: SLF001


def encode(  # noqa: PLR0913 - the parts of a message
    exchange: str,
    routing_key: str,
    properties: spec.BasicProperties,
    body: bytes,
    *,
    channel: int,
    max_frame_bytes: int,
) -> bytes:
    """The frames that publish a message as mandatory, for `write`.

    pika's basic_publish writes each frame to the socket alone: three system calls a message, and a
    third of the throughput.

    Args:
        channel: the number of the channel.
        max_frame_bytes: as negotiated with the broker.
    """
    chunk = max_frame_bytes - spec.FRAME_HEADER_SIZE - spec.FRAME_END_SIZE
    parts = [_encode_publish(exchange, routing_key, channel=channel)]
    parts.append(frame.Header(channel, len(body), properties).marshal())
    parts += (
        frame.Body(channel, body[start : start + chunk]).marshal()
        for start in range(0, len(body), chunk)
    )
    return b"".join(parts)


@lru_cache(maxsize=256)
def _encode_publish(exchange: str, routing_key: str, *, channel: int) -> bytes:
    # Without `mandatory` the broker drops a replay to a queue that does not exist.
    method = spec.Basic.Publish(  # type: ignore[no-untyped-call]
        exchange=exchange, routing_key=routing_key, mandatory=True
    )
    encoded: bytes = frame.Method(channel, method).marshal()
    return encoded


def write(channel: Channel, messages: list[bytes]) -> None:
    """Write encoded messages in one call to the socket."""
    channel.connection._output_marshaled_frames([b"".join(messages)])  # noqa: SLF001
