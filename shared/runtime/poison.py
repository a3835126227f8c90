"""Which deliveries are possible poison messages, which end the process that handles them.

A message that was delivered before, and of which neither a success nor a failure is recorded, was
held by a process that ended. That message may have ended the process, or another one that it held
may have. So each of them is handled while nothing else is held: if it ends the process again, it
costs no other message an attempt.
"""

from collections.abc import Sequence

from shared.errors import DependencyUnavailable
from shared.exhaustion import with_resource
from shared.messaging.identity import Identity
from shared.messaging.ports.consumer import Delivery
from shared.runtime.attempts import failure_of
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
    try:
        return [delivery for delivery, _ in _with_recorded_attempts(database, deliveries)]
    except DATABASE_ERRORS as error:
        raise DependencyUnavailable(
            with_resource("earlier attempts could not be read", error)
        ) from error


def record_ended_attempts(database: Database, delivery: Delivery, *, max_attempts: int) -> None:
    """Record that the earlier attempts at a possible poison message ended the process.

    To be called when it is about to be handled alone, not earlier: the other possible poison
    messages of its batch are requeued, and must be recognised when they are delivered again.

    Args:
        max_attempts: attempts that the queue allows; a higher count of the delivery is not trusted.

    Raises:
        DependencyUnavailable: the database is away.
    """
    try:
        for _, recorded in _with_recorded_attempts(database, [delivery]):
            with database.begin() as connection:
                for attempt in range(recorded + 1, min(delivery.attempt, max_attempts + 1)):
                    failure = failure_of(
                        delivery, _PROCESS_ENDED, attempt=attempt, outcome=failures.RETRIED
                    )
                    failures.record(connection, failure)
    except DATABASE_ERRORS as error:
        raise DependencyUnavailable(
            with_resource("earlier attempts could not be recorded", error)
        ) from error


def _with_recorded_attempts(
    database: Database, deliveries: Sequence[Delivery]
) -> list[tuple[Delivery, int]]:
    """The possible poison messages, each with the number of its recorded attempts."""
    redelivered = [(Identity.of(each), each) for each in deliveries if each.attempt > 1]
    if not redelivered:
        return []
    with database.read() as connection:
        event_ids = [identity.id for identity, _ in redelivered if identity.envelope]
        handled = inbox.outcomes(connection, event_ids)
        attempts = failures.attempt_counts(connection, [identity.id for identity, _ in redelivered])
    return [
        (delivery, recorded)
        for identity, delivery in redelivered
        if (recorded := attempts.get((identity.id, delivery.replays), 0)) < delivery.attempt - 1
        and not (identity.envelope and identity.id in handled)
    ]
