"""Old events, copied to one service's queue.

They go through `replays` with low priority, so that live events go first, and retry, dead letters
and batches are the ordinary ones. What the service has handled before is a duplicate to it.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from shared.errors import OperationFailed
from shared.history.reading import HistoryEvent
from shared.messaging.codec import message_of
from shared.messaging.ports.publisher import Message, Publisher

WINDOW = 500
"""Messages between two looks at whether they are safe."""


class CopiedWindow(NamedTuple):
    """A window that is safe in the queue.

    Attributes:
        place: all below it in the history has been looked at, and what was wanted is safe.
    """

    number: int
    place: int


def copy(
    told: Iterable[HistoryEvent], publisher: Publisher, *, to: str, replays: int = 0
) -> Iterator[CopiedWindow]:
    """Send events to one queue alone, a window at a time; the next is read meanwhile.

    Args:
        replays: how often a person has sent them again.

    Raises:
        OperationFailed: the broker refuses one for good.
        BrokerUnavailable: it is away; the last window may be in the queue, or not.
    """
    left = iter(told)
    with ThreadPoolExecutor(1, thread_name_prefix="copying") as sending:
        window = list(islice(left, WINDOW))
        while window:
            messages = [_message(each, to=to, replays=replays) for each in window]
            answers = sending.submit(publisher.publish, messages)
            following = list(islice(left, WINDOW))
            for each, refusal in zip(window, answers.result(), strict=True):
                if refusal is not None:
                    event_id = each.event.event_id
                    raise OperationFailed(f"event {event_id} cannot be replayed: {refusal}")
            yield CopiedWindow(len(window), window[-1].record.offset + 1)
            window = following


def _message(told: HistoryEvent, *, to: str, replays: int) -> Message:
    message = message_of(told.event, source="history", body=told.record.body)
    return replace(message, only_to=to, replays=replays, low_priority=True)
