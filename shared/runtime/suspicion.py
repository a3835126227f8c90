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
    """The suspects among deliveries; each stays one until it is put on record."""
    return [each for each, _ in _unexplained(database, deliveries)]


def put_on_record(database: Database, suspect: Delivery) -> None:
    """Keep what came of a suspect's attempts so far, now that it is handled alone.

    Not earlier: the others of a batch are handed back, and must be suspects when they come again.
    """
    for each, known in _unexplained(database, [suspect]):
        with database.begin() as connection:
            for attempt in range(known + 1, each.attempt):
                failures.record(connection, _ended(each, attempt))


def _unexplained(database: Database, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, int]]:
    """Those neither handled nor failed as often as delivered, and how often they failed."""
    again = [(printable(each.event_id), each) for each in deliveries if each.attempt > 1]
    if not again:
        return []
    ids = [event_id for event_id, _ in again]
    with database.read() as connection:
        handled = inbox.handled(connection, ids)
        recorded = failures.attempts(connection, ids)
    return [
        (each, known)
        for event_id, each in again
        if (known := recorded.get((event_id, each.replays), 0)) < each.attempt - 1
        and event_id not in handled
    ]


def _ended(delivery: Delivery, attempt: int) -> failures.Failure:
    return failures.Failure(
        event_id=printable(delivery.event_id),
        event_type=printable(delivery.type),
        subject=None,
        attempt=attempt,
        replays=delivery.replays,
        outcome=failures.RETRIED,
        error="ProcessEnded",
        message="the process ended, or lost the broker, while it held this message",
        traceback="",
    )


UNREADABLE = "(unreadable)"


def printable(text: str) -> str:
    """What a stranger put into a property, fit to be kept: an id or a type is short and plain."""
    plain = text[:100]
    return plain if plain.isprintable() and "@" not in plain else UNREADABLE
