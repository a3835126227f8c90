"""Translates what pika raises into BrokerUnavailable and its subclasses, with one sentence each.

The sentences hold no password. The errors were collected by provoking them; pika derives its
"Probable…" errors from the stage of the handshake at which the broker closed the connection.
"""

import re
import socket
from collections.abc import Mapping
from types import UnionType

from pika import exceptions as amqp

from shared import tls
from shared.errors import BrokerRefused, BrokerTooOld, BrokerUnavailable
from shared.exhaustion import reason_of
from shared.messaging.rabbitmq.address import Address
from shared.messaging.rabbitmq.pika_internals import ConnectError, ConnectTimeout, cause_of

OLDEST_VERSION = (4, 3, 1)
"""The first version in which the delayed retry of quorum queues works."""

PIKA_ERRORS = (amqp.AMQPError, ConnectError, OSError, ValueError)
"""What pika raises; a ValueError after a lost connection, see pika's issue 1291."""

_REFUSALS = {
    403,  # ACCESS_REFUSED
    404,  # NOT_FOUND
    406,  # PRECONDITION_FAILED: it exists with other properties
    530,  # NOT_ALLOWED: no such virtual host, or no access to it
}


def supported_version(server: Mapping[str, object] | None) -> str:
    """Product and version of the broker, from the server properties of a connection.

    Raises:
        BrokerTooOld: it is older than OLDEST_VERSION, or not RabbitMQ.
    """
    product, number = (_text((server or {}).get(key)) for key in ("product", "version"))
    version = re.match(r"(\d+)\.(\d+)\.(\d+)", number)
    if product != "RabbitMQ" or not version or tuple(map(int, version.groups())) < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise BrokerTooOld(
            f"the broker is {product} {number}; RabbitMQ {oldest} or newer is needed"
        )
    return f"{product} {number}"


def is_refusal(error: BaseException) -> bool:
    """Whether the broker answered and refuses this client, so that retrying hardly helps."""
    error = cause_of(error)
    if _is_limit(error):
        return False
    if isinstance(error, amqp.ConnectionClosedByBroker | amqp.ChannelClosedByBroker):
        return error.reply_code in _REFUSALS
    # A process reads its certificates when it starts: ending, to be started again, may help.
    return tls.is_refusal(error) or isinstance(
        error,
        BrokerTooOld
        | amqp.AuthenticationError
        | amqp.ProbableAuthenticationError
        | amqp.ProbableAccessDeniedError,
    )


def broker_error(error: BaseException, address: Address) -> BrokerUnavailable:
    """The error to raise in place of an error of pika or the operating system."""
    cause = cause_of(error)
    if isinstance(cause, BrokerUnavailable):
        return cause
    # What is missing may be set up later, but a wrong password stays wrong.
    is_missing = isinstance(cause, amqp.ChannelClosedByBroker) and cause.reply_code == 404
    kind = BrokerRefused if is_refusal(cause) and not is_missing else BrokerUnavailable
    return kind(_sentence(cause, address))


def _is_limit(error: BaseException) -> bool:
    """Whether the user has as many connections or channels as it may, and some may end.

    The code is that of a missing virtual host, so the broker's sentence decides.
    """
    return isinstance(
        error, amqp.ConnectionClosedByBroker | amqp.ProbableAccessDeniedError
    ) and bool(_LIMIT.search(str(error)))


_LIMIT = re.compile(r"limit \(\d+\) is reached|maximum allowed (?:user )?limit of \(?\d+\)?")

_AT_LIMIT = (
    "{broker} allows the user {user!r} no more connections or channels: end the processes that "
    "hold them"
)
_WRONG_USER = "{broker} refuses the user {user!r} or its password"
_NO_VHOST = "{broker} has no virtual host {vhost!r} for the user {user!r}"

_SENTENCES: tuple[tuple[type[BaseException] | UnionType, str], ...] = (
    (amqp.ProbableAuthenticationError | amqp.AuthenticationError, _WRONG_USER),
    (amqp.ProbableAccessDeniedError, _NO_VHOST),
    (amqp.IncompatibleProtocolError, "{broker} is still starting, or is not an AMQP broker"),
    (amqp.ConnectionBlockedTimeout, "{broker} accepts no messages: its memory or disk is full"),
    (socket.gaierror, "the broker's host name {host!r} cannot be resolved"),
    (ConnectTimeout | TimeoutError | amqp.ConnectionOpenAborted, "{broker} does not answer"),
    (ConnectionRefusedError, "{broker} cannot be reached: the connection is refused"),
)
"""The first entry whose class matches is used."""


def _sentence(error: BaseException, address: Address) -> str:
    values = {
        "broker": f"the broker at {address}",
        "user": address.user,
        "vhost": address.vhost,
        "host": address.parameters.host,
    }
    if _is_limit(error):
        return _AT_LIMIT.format(**values)
    if isinstance(error, amqp.ConnectionClosedByBroker | amqp.ChannelClosedByBroker):
        return _closed_by_broker(error).format(**values, reason=error.reply_text)
    # In TLS 1.3 the alert comes after the handshake, and pika quotes it in an error of its own.
    if tls.is_refusal_of_client(str(error)):
        return f"{values['broker']} {tls.REFUSES_CLIENT}"
    for kind, sentence in _SENTENCES:
        if isinstance(error, kind):
            return sentence.format(**values)
    if failure := tls.failure_of(error):
        return f"{values['broker']} {failure}"
    reason = reason_of(error) if isinstance(error, OSError) else type(error).__name__
    return f"{values['broker']} cannot be reached ({reason})"


def _closed_by_broker(error: amqp.ConnectionClosedByBroker | amqp.ChannelClosedByBroker) -> str:
    refuses = "{broker} refuses: {reason}"
    if isinstance(error, amqp.ConnectionClosedByBroker):
        return {403: _WRONG_USER, 530: _NO_VHOST}.get(error.reply_code, refuses)
    if error.reply_code == 404:
        return "something is missing at {broker}, run `shop setup`: {reason}"
    return refuses


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "unknown")
