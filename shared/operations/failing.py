"""Reads what `shop failures` prints: the events that failed and will be delivered again."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from shared.errors import InvalidInput
from shared.runtime.service import AnyService
from shared.runtime.service_settings import service_settings_of
from shared.stack_frames import origin_in
from shared.storage import failures, inbox
from shared.storage.database import Database
from shared.storage.failing_events import FailingEvent, failing_events

MIN_ID_SUFFIX = failures.ENDING_LENGTH
"""How many characters at the end of an id select an event."""


def failing_rows(service: AnyService, database: Database) -> Iterator[dict[str, Any]]:
    """The failing events of a service, in the order of their latest attempts.

    The time of the next attempt follows from the retry settings of the service, as this process
    reads them: the broker's own time is not known on RabbitMQ.
    """
    with database.read() as connection:
        for event in failing_events(connection):
            yield {"service": service.name} | _row(service, event)


def next_attempt_at(service: AnyService, failed_at: datetime, attempt: int) -> datetime:
    """When an attempt is repeated that failed at this time."""
    delay = service_settings_of(service).retry.delay_after(attempt)
    return failed_at + timedelta(seconds=delay)


def until(moment: datetime, now: datetime) -> str:
    """When a time is, seen from now: `in 8 s`, `now`, or `due for 95 s`."""
    seconds = round((moment - now).total_seconds())
    if seconds > 0:
        return f"in {seconds} s"
    return f"due for {-seconds} s" if seconds < 0 else "now"


def _row(service: AnyService, event: FailingEvent) -> dict[str, Any]:
    max_attempts = service_settings_of(service).max_retries + 1
    return {
        "id": event.event_id,
        "event_type": event.event_type,
        "subject": event.subject,
        "error": event.error,
        "message": event.message,
        "origin": origin_in(event.traceback),
        "attempts": event.attempt,
        "attempts_left": max(0, max_attempts - event.attempt),
        "first_failed_at": event.first_failed_at,
        "failed_at": event.failed_at,
        "next_attempt_at": next_attempt_at(service, event.failed_at, event.attempt),
        "traceback": event.traceback,
    }


def event_attempts(service: AnyService, database: Database, name: str) -> dict[str, Any] | None:
    """The recorded attempts of one event, and its state; None if none is recorded.

    Args:
        name: its id, or the end of it.

    Raises:
        InvalidInput: more than one id ends so.
    """
    with database.read() as connection:
        ids = failures.ids_ending(connection, name) if len(name) >= MIN_ID_SUFFIX else []
        if len(ids) > 1:
            raise InvalidInput(f"several failed events of {service.name} end in {name!r}")
        event_id = ids[0] if ids else name
        attempts = failures.find(connection, [event_id])
        handled = inbox.outcomes(connection, [event_id])
    if not attempts:
        return None
    latest = attempts[-1]
    state = handled.get(event_id, latest["outcome"])
    is_failing = state == failures.RETRIED
    at = next_attempt_at(service, latest["failed_at"], latest["attempt"]) if is_failing else None
    return {
        "service": service.name,
        "id": event_id,
        "event_type": latest["event_type"],
        "state": "failing" if is_failing else state,
        "next_attempt_at": at,
        "attempts": attempts,
    }
