"""The record of failed attempts: one row for each, in the service's own database."""

from shared.errors import DependencyUnavailable
from shared.messaging.identity import Identity
from shared.messaging.ports.consumer import Delivery
from shared.storage import failures
from shared.storage.database import DATABASE_ERRORS, Database


def failure_of(
    delivery: Delivery, described: failures.ErrorDescription, *, attempt: int, outcome: str
) -> failures.Failure:
    """The row for one failed attempt at a delivery.

    Args:
        attempt: 1 for the first.
        outcome: `failures.RETRIED` or `failures.DEAD`.
    """
    identity = Identity.of_failed(delivery, described.error)
    return failures.Failure(
        event_id=identity.id,
        event_type=identity.event_type,
        subject=identity.subject,
        attempt=attempt,
        replays=delivery.replays,
        outcome=outcome,
        error=described.error,
        message=described.message,
        traceback=described.stack,
    )


def record_failure(
    database: Database, delivery: Delivery, described: failures.ErrorDescription, *, outcome: str
) -> None:
    """Record the current attempt at a delivery as failed.

    Args:
        outcome: `failures.RETRIED` or `failures.DEAD`.

    Raises:
        DependencyUnavailable: it cannot be recorded, so the attempt must not count.
    """
    failure = failure_of(delivery, described, attempt=delivery.attempt, outcome=outcome)
    try:
        with database.begin() as connection:
            failures.record(connection, failure)
    except DATABASE_ERRORS as error:
        raise DependencyUnavailable("a failed attempt could not be recorded") from error
