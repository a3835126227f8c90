"""Which deliveries may end the process that handles them.

One that was delivered before, with neither success nor failure on record, was held by
a process that ended. It may have ended it; so may a neighbour. Each is handled while nothing else
is held, so a message that kills its process takes no neighbour to the dead queue with it.
"""

from collections.abc import Sequence

from shared.messaging.port import Delivery
from shared.storage import failures, inbox
from shared.storage.database import Database


def suspects(database: Database, deliveries: Sequence[Delivery]) -> list[Delivery]:
    """The suspects among deliveries; what came of the attempts unknown so far goes on record."""
    again = [each for each in deliveries if each.attempt > 1]
    if not again:
        return []
    found = []
    ids = [printable(each.event_id) for each in again]
    with database.begin() as connection:
        handled = inbox.handled(connection, ids)
        recorded = failures.attempts(connection, ids)
        for event_id, each in zip(ids, again, strict=True):
            known = recorded.get((event_id, each.replays), 0)
            if event_id not in handled and known < each.attempt - 1:
                found.append(each)
                for attempt in range(known + 1, each.attempt):
                    failures.record(connection, _ended(each, attempt))
    return found


def _ended(delivery: Delivery, attempt: int) -> failures.Failure:
    return failures.Failure(
        event_id=printable(delivery.event_id),
        event_type=printable(delivery.type),
        subject=None,
        attempt=attempt,
        replays=delivery.replays,
        outcome="retried",
        error="ProcessEnded",
        message="the process ended, or lost the broker, while it held this message",
        traceback="",
    )


UNREADABLE = "(unreadable)"


def printable(text: str) -> str:
    """What a stranger put into a property, fit to be kept: an id or a type is short and plain."""
    plain = text[:100]
    return plain if plain.isprintable() and "@" not in plain else UNREADABLE
