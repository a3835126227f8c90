"""A history in memory, for tests of what reads one."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from shared.events import DomainEvent
from shared.messaging.codec import encode
from shared.messaging.ports.history import HistoryRecord
from shared.messaging.ports.publisher import Message
from shared.testing import publisher_of


def recorded(event: DomainEvent, offset: int = 0) -> HistoryRecord:
    """An event as a record of the history."""
    return HistoryRecord(
        offset=offset,
        topic=event.topic,
        event_id=str(event.event_id),
        type=event.type,
        body=encode(event, source=publisher_of(event)),
    )


def message(event: DomainEvent) -> Message:
    """An event as a message for a publisher."""
    return Message(
        event_id=str(event.event_id),
        topic=event.topic,
        type=event.type,
        body=encode(event, source=publisher_of(event)),
        source=publisher_of(event),
        occurred_at=event.occurred_at,
    )


def garbage(event_id: str = "bad-1") -> HistoryRecord:
    """A record that cannot be read as an event."""
    return HistoryRecord(offset=0, topic="order.placed", event_id=event_id, type="", body=b"{")


@dataclass
class Tape:
    """A history of these messages.

    Attributes:
        dropped: the number of older messages that were deleted.
        started: where each `read` began.
    """

    messages: Sequence[DomainEvent | HistoryRecord]
    dropped: int = 0
    started: list[int | datetime] = field(default_factory=list)

    def first(self) -> HistoryRecord | None:
        return next(iter(self._records()), None)

    def end(self) -> int:
        return self.dropped + len(self.messages)

    def read(
        self, *, start: int | datetime = 0, end: int | None = None
    ) -> Generator[HistoryRecord, None, None]:
        self.started.append(start)
        first = start if isinstance(start, int) else 0
        for record in self._records():
            if first <= record.offset and (end is None or record.offset < end):
                yield record

    def close(self) -> None:
        """There is nothing to close."""

    def _records(self) -> list[HistoryRecord]:
        return [
            recorded(each, offset)
            if isinstance(each, DomainEvent)
            else replace(each, offset=offset)
            for offset, each in enumerate(self.messages, self.dropped)
        ]
