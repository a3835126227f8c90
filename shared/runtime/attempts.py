"""Records failed attempts: one row for each, in the service's own database."""

from shared.errors import DependencyUnavailable
from shared.exhaustion import with_resource
from shared.messaging.identity import Identity
from shared.messaging.ports.consumer import Delivery
from shared.storage import failures
from shared.storage.database import DATABASE_ERRORS, Database


def record_failure(
    database: Database, delivery: Delivery, described: failures.ErrorDescription, *, outcome: str
) -> None:
    """Record the current attempt at a delivery as failed.

    Args:
        outcome: `failures.RETRIED` or `failures.DEAD`.

    Raises:
        DependencyUnavailable: it cannot be recorded, so the attempt must not count.
    """
    identity = Identity.of_failed(delivery, described.error)
    failure = failures.Failure(
        event_id=identity.id,
        event_type=identity.event_type,
        subject=identity.subject,
        attempt=delivery.attempt,
        replays=delivery.replays,
        outcome=outcome,
        error=described.error,
        message=described.message,
        traceback=described.stack,
    )
    try:
        with database.begin() as connection:
            failures.record(connection, failure)
    except DATABASE_ERRORS as error:
        raise DependencyUnavailable(
            with_resource("a failed attempt could not be recorded", error)
        ) from error
