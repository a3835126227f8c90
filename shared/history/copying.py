"""Copies events of the history to the queue of one service.

The copies go through the exchange `replays` with a low priority, so that live events are handled
first; retries, dead letters and batches work as for any message. An event that the service has
handled before is a duplicate.
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
"""Messages that are published before their confirms are awaited."""


class CopiedWindow(NamedTuple):
    """Messages that the broker has confirmed: all events below `next_offset` are in the queue."""

    size: int
    next_offset: int


def copy(
    events: Iterable[HistoryEvent], publisher: Publisher, *, to: str, replays: int = 0
) -> Iterator[CopiedWindow]:
    """Publish events to the queue `to`; while a window is published, the next one is read.

    Args:
        replays: how often a person has replayed the events, sent with each message.

    Raises:
        OperationFailed: the broker rejects an event.
        BrokerUnavailable: the broker is away; messages of the last window may be in the queue.
    """
    remaining = iter(events)
    with ThreadPoolExecutor(1, thread_name_prefix="copying") as executor:
        window = list(islice(remaining, WINDOW))
        while window:
            messages = [_message(item, to=to, replays=replays) for item in window]
            publishing = executor.submit(publisher.publish, messages)
            next_window = list(islice(remaining, WINDOW))
            for item, refusal in zip(window, publishing.result(), strict=True):
                if refusal is not None:
                    event_id = item.event.event_id
                    raise OperationFailed(f"event {event_id} cannot be replayed: {refusal}")
            yield CopiedWindow(len(window), window[-1].record.offset + 1)
            window = next_window


def _message(item: HistoryEvent, *, to: str, replays: int) -> Message:
    message = message_of(item.event, source="history", body=item.record.body)
    return replace(message, only_to=to, replays=replays, low_priority=True)
