"""What went wrong between us and the broker, in one sentence, and whether trying again helps.

Source: the errors that pika raises were collected by provoking them; the names of some are
guesses of pika's own ("Probable"), made from the stage at which the broker hung up.
"""

import re
import socket
from collections.abc import Mapping
from types import UnionType

from pika import exceptions as amqp
from pika.adapters.utils import connection_workflow as workflow

from shared.errors import BrokerRefused, BrokerUnavailable
from shared.messaging.rabbitmq.address import Address

OLDEST = (4, 3, 1)
"""Delayed retry of quorum queues works from here on."""

_REFUSALS = {
    403,  # ACCESS_REFUSED
    404,  # NOT_FOUND
    406,  # PRECONDITION_FAILED: it exists, and is not what we take it for
    530,  # NOT_ALLOWED: no such virtual host, or not for this user
}


class TooOld(BrokerRefused):
    """The broker is older than this system needs."""


def version(server: Mapping[str, object] | None) -> str:
    """Name and version of the broker that these properties of a connection come from.

    Raises:
        TooOld: or another product altogether.
    """
    product, number = (_text((server or {}).get(key)) for key in ("product", "version"))
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", number)
    if product != "RabbitMQ" or not found or tuple(map(int, found.groups())) < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise TooOld(f"the broker is {product} {number}; RabbitMQ {needed} or newer is needed")
    return f"{product} {number}"


def is_refusal(error: BaseException) -> bool:
    """Whether the broker is there and does not want us: trying again will not help for long."""
    error = _cause(error)
    if isinstance(error, amqp.ConnectionClosedByBroker | amqp.ChannelClosedByBroker):
        return error.reply_code in _REFUSALS
    return isinstance(
        error,
        TooOld
        | amqp.AuthenticationError
        | amqp.ProbableAuthenticationError
        | amqp.ProbableAccessDeniedError,
    )


def unavailable(error: BaseException, address: Address) -> BrokerUnavailable:
    """The error to raise, its message one sentence."""
    cause = _cause(error)
    if isinstance(cause, BrokerUnavailable):
        return cause
    # What is missing may yet be set up; a password does not mend itself.
    lacking = isinstance(cause, amqp.ChannelClosedByBroker) and cause.reply_code == 404
    kind = BrokerRefused if is_refusal(cause) and not lacking else BrokerUnavailable
    return kind(_sentence(cause, address))


_NOT_THIS_USER = "{at} refuses the user {user!r} or its password"
_NO_VHOST = "{at} has no virtual host {vhost!r} for the user {user!r}"

_SENTENCES: tuple[tuple[type[BaseException] | UnionType, str], ...] = (
    (amqp.ProbableAuthenticationError | amqp.AuthenticationError, _NOT_THIS_USER),
    (amqp.ProbableAccessDeniedError, _NO_VHOST),
    (amqp.IncompatibleProtocolError, "{at} is still starting, or is no AMQP broker"),
    (amqp.ConnectionBlockedTimeout, "{at} takes no messages: its memory or disk is full"),
    (socket.gaierror, "the broker's host name {host!r} is not known"),
    (
        workflow.AMQPConnectorStackTimeout | TimeoutError | amqp.ConnectionOpenAborted,
        "{at} does not answer",
    ),
    (ConnectionRefusedError, "{at} cannot be reached: the connection is refused"),
)
"""The first whose class fits."""


def _sentence(error: BaseException, address: Address) -> str:
    names = {
        "at": f"the broker at {address}",
        "user": address.user,
        "vhost": address.vhost,
        "host": address.parameters.host,
    }
    if isinstance(error, amqp.ConnectionClosedByBroker | amqp.ChannelClosedByBroker):
        return _closed(error).format(**names, said=error.reply_text)
    for kind, sentence in _SENTENCES:
        if isinstance(error, kind):
            return sentence.format(**names)
    reason = error.strerror if isinstance(error, OSError) else type(error).__name__
    return f"{names['at']} cannot be reached ({reason})"


def _closed(error: amqp.ConnectionClosedByBroker | amqp.ChannelClosedByBroker) -> str:
    if isinstance(error, amqp.ConnectionClosedByBroker):
        return {403: _NOT_THIS_USER, 530: _NO_VHOST}.get(error.reply_code, "{at} refuses: {said}")
    if error.reply_code == 404:
        return "{at} lacks something, run `shop setup`: {said}"
    return "{at} refuses: {said}"


def _cause(error: BaseException) -> BaseException:
    """What is inside pika's wrappings."""
    inner: object = None
    if isinstance(error, workflow.AMQPConnectionWorkflowFailed):
        inner = error.exceptions[-1]
    elif isinstance(error, workflow.AMQPConnectorPhaseErrorBase):
        inner = error.exception
    elif type(error) is amqp.AMQPConnectionError and error.args:
        inner = error.args[0]
    return _cause(inner) if isinstance(inner, BaseException) else error


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "unknown")
