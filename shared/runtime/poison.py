"""Finds possible poison messages, which end the process that handles them.

If a message was delivered before and neither a success nor a failure is recorded, the process that
held it has ended. Any message that it held may be the cause. So each of them is handled while no
other is held: if it ends the process again, no other message loses an attempt.
"""

from collections.abc import Sequence
from dataclasses import replace

from shared.errors import DependencyUnavailable
from shared.exhaustion import with_resource
from shared.messaging.identity import Identity
from shared.messaging.ports.consumer import Delivery
from shared.runtime.attempts import record_failure
from shared.storage import failures, inbox
from shared.storage.database import DATABASE_ERRORS, Database

_PROCESS_ENDED = failures.ErrorDescription(
    "ProcessEnded", "the process ended, or lost the broker, while it held this message", ""
)


def possible_poison(database: Database, deliveries: Sequence[Delivery]) -> list[Delivery]:
    """The possible poison messages among deliveries, until `record_ended_attempts` is called.

    Raises:
        DependencyUnavailable: the database is away.
    """
    return [delivery for delivery, _ in _with_recorded_attempts(database, deliveries)]


def record_ended_attempts(database: Database, delivery: Delivery, *, max_attempts: int) -> None:
    """Record that the earlier attempts at a possible poison message ended the process.

    Call it just before the message is handled alone: the other possible poison messages of its
    batch are requeued, and must be found again when they are delivered.

    Args:
        max_attempts: attempts that the queue allows; a higher count of the delivery is not trusted.

    Raises:
        DependencyUnavailable: the database is away.
    """
    for _, recorded in _with_recorded_attempts(database, [delivery]):
        for number in range(recorded + 1, min(delivery.attempt, max_attempts + 1)):
            attempt = replace(delivery, attempt=number)
            record_failure(database, attempt, _PROCESS_ENDED, outcome=failures.RETRIED)


def _with_recorded_attempts(
    database: Database, deliveries: Sequence[Delivery]
) -> list[tuple[Delivery, int]]:
    """The possible poison messages, each with the number of its recorded attempts."""
    redelivered = [(Identity.of(each), each) for each in deliveries if each.attempt > 1]
    if not redelivered:
        return []
    ids = [identity.id for identity, _ in redelivered]
    event_ids = [identity.id for identity, _ in redelivered if identity.envelope]
    try:
        with database.read() as connection:
            handled = inbox.outcomes(connection, event_ids)
            attempts = failures.attempt_counts(connection, ids)
    except DATABASE_ERRORS as error:
        raise DependencyUnavailable(
            with_resource("earlier attempts could not be read", error)
        ) from error
    return [
        (delivery, recorded)
        for identity, delivery in redelivered
        if (recorded := attempts.get((identity.id, delivery.replays), 0)) < delivery.attempt - 1
        and not (identity.envelope and identity.id in handled)
    ]
