"""What a person sees of a service's dead letters: groups of them, or all that is known of one."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from shared.errors import InvalidInput, MalformedEvent
from shared.messaging import codec
from shared.operations.dead_letters.dead_queue import DeadQueue
from shared.operations.dead_letters.letter import APPLIED, DISCARDED, SHORTEST_END, Letter
from shared.storage import discards, failures

_BEGINNING = 200
"""Characters shown of what is no event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Dead letters of one type that died of the same.

    Attributes:
        first: when the first of them died; None if nobody knows.
        example: the id of one.
    """

    service: str
    event_type: str
    error: str
    count: int
    first: datetime | None
    last: datetime | None
    example: str


def grouped(queue: DeadQueue) -> list[Group]:
    """A service's dead letters by type and error.

    Raises:
        BrokerUnavailable: the broker is away, or was never set up.
    """
    groups: dict[tuple[str, str], Group] = {}
    for letter, _ in queue.letters():
        key = letter.event_type, letter.error
        groups[key] = _with(groups[key], letter) if key in groups else _group(queue, letter)
    return [groups[key] for key in sorted(groups)]


def _group(queue: DeadQueue, letter: Letter) -> Group:
    return Group(
        service=queue.service.name,
        event_type=letter.event_type,
        error=letter.error,
        count=1,
        first=letter.at,
        last=letter.at,
        example=letter.id,
    )


def _with(group: Group, letter: Letter) -> Group:
    times = [each for each in (group.first, group.last, letter.at) if each]
    first, last = min(times, default=None), max(times, default=None)
    return replace(group, count=group.count + 1, first=first, last=last)


def letter_details(queue: DeadQueue, name: str) -> dict[str, Any]:
    """All that is known of one letter, its data and every recorded attempt included.

    Args:
        name: its id, or the end of it; one that was discarded is known too.

    Raises:
        InvalidInput: there is none of that name, or several.
        BrokerUnavailable: the broker is away, or was never set up.
    """
    try:
        letters, body = queue.named(name)
    except InvalidInput:
        record = _discarded(queue, name)
        if record is None:
            raise
        return record
    letter = letters[-1]
    return {
        "service": queue.service.name,
        "id": letter.id,
        "event_type": letter.event_type,
        "subject": letter.subject,
        "occurred_at": letter.occurred_at,
        **_contents(body),
        "error": letter.error,
        "at": letter.at,
        "applied": letter.error == APPLIED,
        "replays": letter.replays,
        "copies": len(letters),
        "broker_reason": letter.held.delivery.reason or None,
        "attempts": _attempts(queue, letter.id),
    }


def discarded(queue: DeadQueue) -> list[dict[str, Any]]:
    """What was discarded in a service, by whom and why, newest first; the broker may be away."""
    with queue.database.read() as connection:
        return [_record(queue, each) for each in discards.find_all(connection)]


def _discarded(queue: DeadQueue, name: str) -> dict[str, Any] | None:
    with queue.database.read() as connection:
        found = discards.find(connection, name, by_end=len(name) >= SHORTEST_END)
    if found is None:
        return None
    return _record(queue, found) | {"attempts": _attempts(queue, found.letter_id)}


def _record(queue: DeadQueue, found: discards.Discard) -> dict[str, Any]:
    return {
        "service": queue.service.name,
        "id": found.letter_id,
        "event_type": found.event_type,
        "subject": found.subject,
        "error": DISCARDED,
        "reason": found.reason,
        "discarded_by": found.discarded_by,
        "discarded_at": found.discarded_at,
    }


def _contents(body: bytes) -> dict[str, Any]:
    try:
        envelope = codec.read(body)
    except MalformedEvent as error:
        begins = body[:_BEGINNING].decode(errors="replace")
        return {"flaw": str(error), "body_bytes": len(body), "body_begins": begins}
    return {
        "source": envelope.source,
        "correlation_id": envelope.correlationid,
        "causation_id": envelope.causationid,
        "body_bytes": len(body),
        "data": envelope.data,
    }


def _attempts(queue: DeadQueue, letter_id: str) -> list[dict[str, Any]]:
    with queue.database.read() as connection:
        return failures.find(connection, [letter_id])
