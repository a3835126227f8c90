"""Removes a dead letter for good and records the user, the time and the reason."""

import getpass
import os
import socket

from shared.errors import InvalidInput
from shared.messaging import codec
from shared.operations.dead_letters.dead_queue import DeadQueue
from shared.operations.dead_letters.letter import DeadLetter
from shared.runtime.hints import command
from shared.storage import discards, inbox


def discard(queue: DeadQueue, letter_id: str, *, reason: str, discarded_by: str) -> DeadLetter:
    """Remove a letter from the dead queue and record the discard.

    The service will never handle that event: the inbox drops any copy that still arrives. If
    this ends early, the letter is still in the dead queue and can be discarded again.

    Args:
        letter_id: its id, or the end of it.
        discarded_by: user and machine.

    Raises:
        InvalidInput: the event was applied, or see `DeadQueue.select`.
        ConflictingEvent: meanwhile the service handled another event with its id.
    """
    letters, body = queue.find(letter_id)
    letter = letters[-1]
    record = discards.Discard(
        letter_id=letter.id,
        event_type=letter.event_type,
        subject=letter.subject,
        reason=reason,
        discarded_by=discarded_by,
    )
    with queue.database.begin() as connection:
        if letter.is_event:
            event, source = codec.decode(body, {}), codec.read(body).source
            entry = inbox.Entry.of(event, body, source=source)
            inbox.enter(connection, [entry], outcome=inbox.DISCARDED)
            # The service may have handled another copy, even while this command ran.
            if inbox.outcomes(connection, [letter.id])[letter.id] != inbox.DISCARDED:
                raise InvalidInput(
                    f"{letter.id} was applied, so there is nothing to discard; to remove it from "
                    f"the dead queue: {command('dead', 'retry', queue.service.name, letter.id)}"
                )
        discards.record(connection, queue.database, record)
    # A message that is not an event may have the same id; only copies are settled.
    queue.settle(each for each in letters if each.is_event == letter.is_event)
    return letter


def current_user() -> str:
    """The user and the machine, as `USER@MACHINE`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # in a container the user may have no name
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
