"""Sends dead letters to their service again.

Guarantees: a letter leaves the dead queue only when the broker has confirmed its copy, or when the
inbox has the event. A retry that ends early loses nothing and can be run again: the inbox drops a
copy that was sent twice. No other service receives the copy.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from tempfile import TemporaryFile
from typing import IO, NamedTuple

from shared.errors import OperationFailed
from shared.events import topic_of
from shared.exhaustion import reason_of
from shared.messaging.codec import decode, message_of
from shared.messaging.ports.publisher import Message, Publisher
from shared.operations.dead_letters.dead_queue import DeadQueue
from shared.operations.dead_letters.letter import DeadLetter
from shared.storage import failures

_WINDOW = 100
_WINDOW_BYTES = 8 * 1024 * 1024
"""Letters, and bytes of their bodies, that are published together and then settled."""

_END_OF_TIME = datetime.max.replace(tzinfo=UTC)

Progress = Callable[[int, int], None]
"""Called with the number of letters that are done, and of all."""


@dataclass(slots=True)
class RetryResult:
    """How many dead letters were retried, or would be in a dry run.

    Attributes:
        duplicates: only removed from the dead queue, since the inbox has the event.
        not_retryable: left in the dead queue, since their error would occur again.
        rejected: the broker's reason, by id, for each letter that it rejects for good.
    """

    retried: int = 0
    duplicates: int = 0
    not_retryable: int = 0
    rejected: dict[str, str] = field(default_factory=dict)


def retry(
    queue: DeadQueue,
    *,
    letter_id: str | None = None,
    error: str | None = None,
    dry_run: bool = False,
    progress: Progress = lambda _done, _total: None,
) -> RetryResult:
    """Send dead letters to their service again, in the order in which the events occurred.

    Without `letter_id` and `error` it sends all that may succeed.

    Args:
        letter_id: only the letter with this id, or with an id that ends in it.
        error: only letters with this error.
        dry_run: whether only to count.

    Raises:
        BrokerUnavailable: the broker cannot be reached; unconfirmed letters stay in the queue.
        OperationFailed: the bodies do not fit in the folder for temporary files.
        InvalidInput, OperationFailed: see `DeadQueue.select`.
    """
    result = RetryResult()
    selects_all = letter_id is None and error is None
    with TemporaryFile() as file:
        spooled, duplicates = [], []
        for letter, body in queue.select(letter_id=letter_id, error=error):
            if letter.is_settled:
                duplicates.append(letter)
            elif selects_all and not letter.may_succeed_on_redrive:
                result.not_retryable += 1
            else:
                spooled.append(_spool(file, letter, b"" if dry_run else body))
        result.duplicates = len(duplicates)
        if dry_run:
            result.retried = len(spooled)
            return result
        queue.settle(duplicates)
        spooled.sort(key=lambda each: (each.letter.occurred_at or _END_OF_TIME, each.letter.id))
        publisher = queue.broker.publisher()
        try:
            for window in _windows(spooled):
                _send(queue, publisher, file, window, result=result)
                progress(result.retried + len(result.rejected), len(spooled))
        finally:
            publisher.close()
    return result


class _SpooledLetter(NamedTuple):
    letter: DeadLetter
    offset: int
    body_bytes: int


def _spool(file: IO[bytes], letter: DeadLetter, body: bytes) -> _SpooledLetter:
    try:
        offset = file.tell()
        file.write(body)
    except OSError as error:
        raise OperationFailed(
            f"the letters cannot be kept in the folder for temporary files ({reason_of(error)}): "
            "nothing was changed; set TMPDIR to another one, or retry them by --error or by id"
        ) from error
    return _SpooledLetter(letter, offset, len(body))


def _windows(spooled: Sequence[_SpooledLetter]) -> Iterator[list[_SpooledLetter]]:
    window: list[_SpooledLetter] = []
    window_bytes = 0
    for each in spooled:
        if window and (len(window) == _WINDOW or window_bytes + each.body_bytes > _WINDOW_BYTES):
            yield window
            window, window_bytes = [], 0
        window.append(each)
        window_bytes += each.body_bytes
    if window:
        yield window


def _send(
    queue: DeadQueue,
    publisher: Publisher,
    file: IO[bytes],
    window: Sequence[_SpooledLetter],
    *,
    result: RetryResult,
) -> None:
    """Publish a window of letters, and settle those that the broker confirmed."""
    messages = [_message(queue, file, each) for each in window]
    confirmed = []
    for each, rejection in zip(window, publisher.publish(messages), strict=True):
        if rejection is None:
            confirmed.append(each.letter)
        else:
            result.rejected[each.letter.id] = rejection
    with queue.database.begin() as connection:
        # Only by an event's own id: the property of anything else may name another event.
        redriven = {(each.id, each.replays) for each in confirmed if each.is_event}
        failures.note_redriven(connection, redriven)
    queue.settle(confirmed)
    result.retried += len(confirmed)


def _message(queue: DeadQueue, file: IO[bytes], spooled: _SpooledLetter) -> Message:
    letter = spooled.letter
    file.seek(spooled.offset)
    body = file.read(spooled.body_bytes)
    if letter.is_event:
        message = message_of(decode(body, {}), source=letter.source, body=body)
    else:
        topic = topic_of(letter.event_type)
        message = Message(
            event_id=letter.id, topic=topic, type=letter.event_type, body=body, source=""
        )
    return replace(
        message,
        only_to=queue.service.name,
        replays=letter.replays + 1,
        low_priority=True,  # so that live events go first
    )
