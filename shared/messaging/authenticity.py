"""Decides whether a message was published by a service that may publish its type of event.

A body can claim anything. The broker vouches for two things: that the sender may use the routing
key, as the topic permissions of its user say, and that the `user_id` of a message is the user who
published it. So a message counts only if its routing key is the topic of its type, and if its
source and its user are one of the type's publishers.

Where all services share one broker user, and on the embedded broker, which has no users, the
routing key and the source are checked alone.

Source: https://www.rabbitmq.com/docs/validated-user-id
"""

import re
from dataclasses import dataclass
from functools import cache

from shared.errors import ForgedEvent
from shared.events import DomainEvent, concrete_types, topic_of
from shared.messaging.codec import Envelope
from shared.messaging.identity import safe_name, safe_source, safe_type
from shared.messaging.ports.consumer import Delivery
from shared.messaging.ports.history import HistoryRecord

_SOURCE = re.compile(r"/([a-z][a-z0-9_-]{0,99})")

Contract = type[DomainEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerUsers:
    """What a service knows about users, on a broker where each service has a user of its own.

    Attributes:
        replaying: the users who may send replays to the service.
        is_required: False to accept a message that names no user, as long as publishers run that
            do not name it yet.
    """

    replaying: frozenset[str]
    is_required: bool = True


def require_authentic(
    delivery: Delivery, envelope: Envelope, contract: Contract | None, *, users: BrokerUsers | None
) -> None:
    """Check that a delivery was published by a service that may do so.

    Args:
        contract: the contract of the event's type; None for an unknown type.
        users: None where the services share a user, or the broker has no users.

    Raises:
        ForgedEvent: it was not; the sentence names its type, source, routing key and user.
    """
    publisher = _publisher(delivery, envelope, contract)
    if not delivery.is_replay:
        _require_topic(delivery, envelope)
    elif delivery.topic != delivery.queue:
        raise _forged(delivery, envelope, "it is a replay to another queue")
    if users is None or (not delivery.user and not users.is_required):
        return
    expected = users.replaying if delivery.is_replay else {publisher}
    if delivery.user not in expected:
        names = " or ".join(sorted(map(safe_name, expected)))
        raise _forged(delivery, envelope, f"the broker's user should be {names}")


def require_authentic_record(
    record: HistoryRecord, envelope: Envelope, contract: Contract | None
) -> None:
    """Check that a record of the history was published by a service that may do so.

    A record may be older than the users of the services, so it may name none, or one that all
    shared. Its routing key, which the broker allowed to the sender, is checked in any case.

    Raises:
        ForgedEvent: it was not, as far as the record tells.
    """
    publisher = _publisher(record, envelope, contract)
    if record.is_replay:
        raise _forged(record, envelope, "a replay does not belong into the history")
    _require_topic(record, envelope)
    if record.user in _publishing_services() - {publisher}:
        raise _forged(record, envelope, f"the broker's user should be {publisher}")


def _publisher(
    message: Delivery | HistoryRecord, envelope: Envelope, contract: Contract | None
) -> str:
    """The service that the message names as its source."""
    source = _SOURCE.fullmatch(envelope.source)
    if source is None:
        raise _forged(message, envelope, "its source is not the name of a service")
    if contract is not None and source[1] not in contract.publishers:
        raise _forged(message, envelope, "its source does not publish this type")
    return source[1]


def _require_topic(message: Delivery | HistoryRecord, envelope: Envelope) -> None:
    if message.topic != topic_of(envelope.type):
        raise _forged(message, envelope, "its routing key is not the topic of its type")


@cache
def _publishing_services() -> frozenset[str]:
    return frozenset().union(*(contract.publishers for contract in concrete_types()))


def _forged(message: Delivery | HistoryRecord, envelope: Envelope, reason: str) -> ForgedEvent:
    user = safe_name(message.user) if message.user else "none"
    return ForgedEvent(
        f"{safe_type(envelope.type)} with source {safe_source(envelope.source)}, "
        f"routing key {safe_name(message.topic)} and broker user {user}: {reason}"
    )
