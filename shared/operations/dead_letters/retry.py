"""Dead letters sent again, or discarded.

Guarantees: a letter leaves the dead queue only once its copy is confirmed, the inbox has it, or its
discarding is recorded. Killed half-way, nothing is lost and doing it again is safe: a copy that
comes twice is a duplicate to the inbox. A retry reaches that service's queue alone.
"""

import getpass
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from tempfile import TemporaryFile
from typing import IO, NamedTuple

from shared.errors import InvalidInput, MalformedEvent, OperationFailed
from shared.messaging import codec
from shared.messaging.ports.publisher import Message
from shared.operations.dead_letters.dead_queue import DeadQueue
from shared.operations.dead_letters.letter import Letter
from shared.storage import discards, failures, inbox

_WINDOW = 100
_WINDOW_BYTES = 8 * 1024 * 1024
"""Letters, and their bytes, that are published at once and then settled."""

_LATEST = datetime.max.replace(tzinfo=UTC)

Progress = Callable[[int, int], None]
"""Told how many have been sent, and of how many."""


@dataclass(slots=True)
class Retried:
    """What became of dead letters that somebody wanted retried; or would, were it done.

    Attributes:
        retried: sent to the service's queue again.
        duplicates: taken out of the dead queue only, since the inbox has them.
        left: that nobody can mend, and nobody asked for by name or error.
        refused: ids of those that the broker will never take, with its reason.
    """

    retried: int = 0
    duplicates: int = 0
    left: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def retry(
    queue: DeadQueue,
    *,
    name: str | None = None,
    error: str | None = None,
    dry_run: bool = False,
    progress: Progress = lambda _done, _all: None,
) -> Retried:
    """Send dead letters to their service again, in the order in which the events occurred.

    Args:
        name: only the one with this id, or with an id that ends so.
        error: only those that died of this.
        dry_run: only count.

    Raises:
        InvalidInput: no letter is meant, or several are by an id's end.
        BrokerUnavailable: the broker is away; what was not confirmed is where it was.
        OperationFailed: there is no room for the letters' bodies.
    """
    done = Retried()
    with TemporaryFile() as file:
        plan, duplicates = [], []
        for letter, body in queue.chosen(name=name, error=error):
            if letter.is_settled:
                duplicates.append(letter)
            elif letter.is_not_retryable and name is None and error is None:
                done.left += 1
            else:
                plan.append(_spooled(file, letter, body, dry_run=dry_run))
        done.duplicates = len(duplicates)
        if dry_run:
            done.retried = len(plan)
            return done
        queue.settle(duplicates)
        plan.sort(key=lambda each: (each.letter.occurred_at or _LATEST, each.letter.id))
        _publish(queue, file, plan, done=done, progress=progress)
    return done


class _Spooled(NamedTuple):
    letter: Letter
    begins: int
    body_bytes: int


def _spooled(file: IO[bytes], letter: Letter, body: bytes, *, dry_run: bool) -> _Spooled:
    try:
        begins = file.tell()
        if not dry_run:
            file.write(body)
    except OSError as error:
        raise OperationFailed(
            f"no room for the letters in the folder for temporary files ({error.strerror}): "
            "nothing was changed; set TMPDIR to a larger one, or retry them by --error or by id"
        ) from error
    return _Spooled(letter, begins, len(body))


def _publish(
    queue: DeadQueue, file: IO[bytes], plan: list[_Spooled], *, done: Retried, progress: Progress
) -> None:
    publisher = queue.broker.publisher()
    try:
        for window in _windows(plan):
            answers = publisher.publish([_message(queue, file, each) for each in window])
            confirmed = []
            for each, refusal in zip(window, answers, strict=True):
                if refusal is None:
                    confirmed.append(each.letter)
                else:
                    done.refused[each.letter.id] = refusal
            _note(queue, confirmed)
            queue.settle(confirmed)
            done.retried += len(confirmed)
            progress(done.retried + len(done.refused), len(plan))
    finally:
        publisher.close()


def _note(queue: DeadQueue, letters: list[Letter]) -> None:
    """Keep that they were sent again, for whoever looks meanwhile."""
    # By the event's own id: the property may be a stranger's, and name another.
    sent = {(each.id, each.replays) for each in letters if each.is_event}
    with queue.database.begin() as connection:
        failures.note_redriven(connection, sent)


def _windows(plan: list[_Spooled]) -> Iterator[list[_Spooled]]:
    window: list[_Spooled] = []
    size = 0
    for each in plan:
        if window and (len(window) == _WINDOW or size + each.body_bytes > _WINDOW_BYTES):
            yield window
            window, size = [], 0
        window.append(each)
        size += each.body_bytes
    if window:
        yield window


def _message(queue: DeadQueue, file: IO[bytes], spooled: _Spooled) -> Message:
    letter, delivery = spooled.letter, spooled.letter.held.delivery
    file.seek(spooled.begins)
    body = file.read(spooled.body_bytes)
    try:
        envelope = codec.read(body)
    except MalformedEvent:
        source, conversation = "", None
    else:
        source, conversation = envelope.source.removeprefix("/"), envelope.correlationid
    return Message(
        event_id=letter.id,
        topic=letter.event_type.rpartition(".v")[0],
        type=letter.event_type,
        body=body,
        source=source,
        correlation_id=str(conversation or ""),
        occurred_at=letter.occurred_at,
        only_to=queue.service.name,
        replays=delivery.replays + 1,
        low_priority=True,  # however many they are, what happens now goes first
    )


def discard(queue: DeadQueue, name: str, *, reason: str, who: str) -> Letter:
    """Take a letter out of the dead queue for good, and keep who did so and why.

    The service will never handle that event; a copy that still comes is a duplicate.

    Args:
        name: its id, or the end of it.

    Raises:
        InvalidInput: there is none of that name, or several; or it was applied.
    """
    letters, body = queue.named(name)
    letter = letters[-1]
    record = discards.Discard(
        letter_id=letter.id,
        event_type=letter.event_type,
        subject=letter.subject,
        reason=reason,
        discarded_by=who,
    )
    with queue.database.begin() as connection:
        if letter.is_event:
            event = codec.decode(body, {})
            inbox.enter(connection, [event], outcome=inbox.DISCARDED)
            # It may have been applied since, or all along.
            if inbox.outcomes(connection, [letter.id])[letter.id] != inbox.DISCARDED:
                raise InvalidInput(
                    f"{letter.id} was applied, so there is nothing to discard; take it out of the "
                    f"dead queue with: shop dead retry {queue.service.name} {letter.id}"
                )
        discards.record(connection, queue.database, record)
    # A stranger may have given the same id to something else.
    queue.settle(each for each in letters if each.is_event == letter.is_event)
    return letter


def current_user() -> str:
    """User and machine, for the record."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user need have no name
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
