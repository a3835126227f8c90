"""Which deliveries may end the process that handles them.

One that was delivered before, with neither success nor failure on record, was held by
a process that ended. It may have ended it; so may a neighbour. Each is handled while nothing else
is held, so a message that kills its process takes no neighbour to the dead queue with it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from shared.messaging.identity import Identity
from shared.messaging.ports.consumer import Delivery
from shared.storage import failures, inbox
from shared.storage.database import Database


class _Unexplained(NamedTuple):
    delivery: Delivery
    identity: Identity
    known: int


def possible_poison(database: Database, deliveries: Sequence[Delivery]) -> list[Delivery]:
    """The possible poison messages among deliveries; each stays one until it is put on record."""
    return [each.delivery for each in _unexplained(database, deliveries)]


def put_on_record(database: Database, suspect: Delivery, *, most: int) -> None:
    """Keep what came of a suspect's attempts so far, now that it is handled alone.

    Not earlier: the others of a batch are requeued, and must be possible poison again then.

    Args:
        most: attempts that the queue allows; what says that it had more is not believed.
    """
    for each in _unexplained(database, [suspect]):
        with database.begin() as connection:
            for attempt in range(each.known + 1, min(suspect.attempt, most + 1)):
                failures.record(connection, _ended(each, attempt))


def _unexplained(database: Database, deliveries: Sequence[Delivery]) -> list[_Unexplained]:
    """Those neither handled nor failed as often as delivered, and how often they failed."""
    again = [(Identity.of(each), each) for each in deliveries if each.attempt > 1]
    if not again:
        return []
    with database.read() as connection:
        handled = inbox.outcomes(connection, [each.id for each, _ in again if each.envelope])
        recorded = failures.attempt_counts(connection, [each.id for each, _ in again])
    return [
        _Unexplained(each, identity, known)
        for identity, each in again
        if (known := recorded.get((identity.id, each.replays), 0)) < each.attempt - 1
        and not (identity.envelope and identity.id in handled)
    ]


def _ended(suspect: _Unexplained, attempt: int) -> failures.Failure:
    return failures.Failure(
        event_id=suspect.identity.id,
        event_type=suspect.identity.event_type,
        subject=suspect.identity.subject,
        attempt=attempt,
        replays=suspect.delivery.replays,
        outcome=failures.RETRIED,
        error="ProcessEnded",
        message="the process ended, or lost the broker, while it held this message",
        traceback="",
    )
