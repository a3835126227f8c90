"""Reads the data that `shop dead list` and `shop dead show` print."""

from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shared.errors import InvalidInput, MalformedEvent
from shared.messaging import codec
from shared.messaging.identity import safe_source
from shared.operations.dead_letters.dead_queue import DeadQueue
from shared.operations.dead_letters.letter import APPLIED, DISCARDED, MIN_ID_SUFFIX
from shared.storage import discards, failures

_MAX_GROUPS = 1_000
"""Types and errors that are listed; types come from outside, and may be any number."""

_OTHER_TYPES = "(other types)"

_COUNTED_TOGETHER = 500
"""Letters whose recorded attempts are counted by one statement."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)

_PREVIEW_LENGTH = 200
"""Characters shown of a body that is not an event."""


@dataclass(slots=True, kw_only=True)
class LetterGroup:
    """The dead letters of one event type with one error.

    Attributes:
        first, last: when the first and the last of them died; None if unknown.
        example: the id of one.
        ids: of all of them.
    """

    service: str
    event_type: str
    error: str
    count: int = 0
    first: datetime | None = None
    last: datetime | None = None
    example: str
    ids: list[str] = field(default_factory=list)


def group_letters(queue: DeadQueue) -> list[LetterGroup]:
    """Group a service's dead letters by event type and error; raises as `DeadQueue.letters`."""
    groups: dict[tuple[str, str], LetterGroup] = {}
    for letter, _ in queue.letters():
        key = letter.event_type, letter.error
        if key not in groups and len(groups) >= _MAX_GROUPS:
            key = _OTHER_TYPES, letter.error
        group = groups.setdefault(
            key,
            LetterGroup(
                service=queue.service.name, event_type=key[0], error=key[1], example=letter.id
            ),
        )
        group.count += 1
        group.ids.append(letter.id)
        if letter.at is not None:
            group.first = min(group.first or letter.at, letter.at)
            group.last = max(group.last or letter.at, letter.at)
    return [groups[key] for key in sorted(groups)]


def each_letter(queue: DeadQueue) -> list[dict[str, Any]]:
    """Return every dead letter of a service, newest first; raises as `DeadQueue.letters`."""
    rows: list[dict[str, Any]] = [
        {
            "service": queue.service.name,
            "event_type": letter.event_type,
            "id": letter.id,
            "subject": letter.subject,
            "error": letter.error,
            "attempts": 0,
            "replays": letter.replays,
            "at": letter.at,
        }
        for letter, _ in queue.letters()
    ]
    counts = _recorded_attempts(queue, [row["id"] for row in rows])
    for row in rows:
        row["attempts"] = counts[row["id"]]
    return sorted(rows, key=lambda row: row["at"] or _LONG_AGO, reverse=True)


def _recorded_attempts(queue: DeadQueue, ids: Sequence[str]) -> Counter[str]:
    """How many failed attempts at each letter are recorded, also those before redrives."""
    counts: Counter[str] = Counter()
    with queue.database.read() as connection:
        for start in range(0, len(ids), _COUNTED_TOGETHER):
            some = sorted(set(ids[start : start + _COUNTED_TOGETHER]) - counts.keys())
            for (letter_id, _), count in failures.attempt_counts(connection, some).items():
                counts[letter_id] += count
    return counts


def letter_details(queue: DeadQueue, letter_id: str) -> dict[str, Any]:
    """Return one letter's data and recorded attempts, or the record of its discard.

    Args:
        letter_id: its id, or the end of it; raises as `DeadQueue.select`.
    """
    try:
        letters, body = queue.find(letter_id)
    except InvalidInput:
        with queue.database.read() as connection:
            discard = discards.find(connection, letter_id, by_end=len(letter_id) >= MIN_ID_SUFFIX)
        if discard is None:
            raise
        return _discard_record(queue, discard) | {"attempts": _attempts(queue, discard.letter_id)}
    letter = letters[-1]
    return {
        "service": queue.service.name,
        "id": letter.id,
        "event_type": letter.event_type,
        "subject": letter.subject,
        "occurred_at": letter.occurred_at,
        **_contents(body, flaw=letter.delivery.flaw),
        "error": letter.error,
        "at": letter.at,
        "applied": letter.error == APPLIED,
        "replays": letter.replays,
        "copies": len(letters),
        "broker_reason": letter.broker_reason,
        "attempts": _attempts(queue, letter.id),
    }


def discard_records(queue: DeadQueue) -> list[dict[str, Any]]:
    """Return every discard in a service, newest first; this needs no broker."""
    with queue.database.read() as connection:
        return [_discard_record(queue, each) for each in discards.find_all(connection)]


def _discard_record(queue: DeadQueue, discard: discards.Discard) -> dict[str, Any]:
    return {
        "service": queue.service.name,
        "id": discard.letter_id,
        "event_type": discard.event_type,
        "subject": discard.subject,
        "error": DISCARDED,
        "reason": discard.reason,
        "discarded_by": discard.discarded_by,
        "discarded_at": discard.discarded_at,
    }


def _contents(body: bytes, *, flaw: str) -> dict[str, Any]:
    try:
        envelope = codec.read(body, flaw=flaw)
    except MalformedEvent as error:
        begins = body[:_PREVIEW_LENGTH].decode(errors="replace")
        return {"flaw": str(error), "body_bytes": len(body), "body_begins": begins}
    data = envelope.data
    return {
        "source": safe_source(envelope.source),
        "correlation_id": envelope.correlationid,
        "causation_id": envelope.causationid,
        "body_bytes": len(body),
        "data": b64encode(data).decode() if isinstance(data, bytes) else data,
    }


def _attempts(queue: DeadQueue, letter_id: str) -> list[dict[str, Any]]:
    with queue.database.read() as connection:
        return failures.find(connection, [letter_id])
