"""Copies events of the history to the queue of one service.

The copies go through the exchange `replays` with a low priority, so that live events are handled
first; retries, dead letters and batches work as for any message. An event that the service has
handled before is a duplicate.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

from shared.errors import OperationFailed
from shared.history.reading import HistoryEvent
from shared.messaging.codec import message_of
from shared.messaging.ports.publisher import Message, Publisher

WINDOW = 500
WINDOW_BYTES = 8 * 1024 * 1024
"""Messages, and bytes of their bodies, that are published before their confirms are awaited."""


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
    # The decoded events take more memory than the messages, and are not kept.
    copies = (_Copy(_message(each, to=to, replays=replays), each.record.offset) for each in events)
    with ThreadPoolExecutor(1, thread_name_prefix="copying") as executor:
        window = _window(copies)
        while window:
            messages = [each.message for each in window]
            publishing = executor.submit(publisher.publish, messages)
            next_window = _window(copies)
            for message, refusal in zip(messages, publishing.result(), strict=True):
                if refusal is not None:
                    raise OperationFailed(f"event {message.event_id} cannot be replayed: {refusal}")
            yield CopiedWindow(len(window), window[-1].offset + 1)
            window = next_window


class _Copy(NamedTuple):
    message: Message
    offset: int


def _window(copies: Iterator[_Copy]) -> list[_Copy]:
    window: list[_Copy] = []
    size_bytes = 0
    for each in copies:
        window.append(each)
        size_bytes += len(each.message.body)
        if len(window) == WINDOW or size_bytes >= WINDOW_BYTES:
            break
    return window


def _message(item: HistoryEvent, *, to: str, replays: int) -> Message:
    message = message_of(item.event, source="history", body=item.record.body)
    return replace(message, only_to=to, replays=replays, low_priority=True)
