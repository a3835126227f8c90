"""A history in a list, for what is done with one, wherever it comes from."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.events import DomainEvent
from shared.messaging.codec import encode
from shared.messaging.ports.history import HistoryRecord
from shared.messaging.ports.publisher import Message


def recorded(event: DomainEvent, offset: int = 0) -> HistoryRecord:
    """An event as a history has it."""
    return HistoryRecord(
        offset=offset,
        topic=event.topic,
        event_id=str(event.event_id),
        type=event.type,
        body=encode(event, source="orders"),
    )


def message(event: DomainEvent) -> Message:
    """An event as a publisher sends it."""
    return Message(
        event_id=str(event.event_id),
        topic=event.topic,
        type=event.type,
        body=encode(event, source="orders"),
        source="orders",
        occurred_at=event.occurred_at,
    )


def garbage(event_id: str = "bad-1") -> HistoryRecord:
    """A message that is no event."""
    return HistoryRecord(offset=0, topic="order.placed", event_id=event_id, type="", body=b"{")


@dataclass
class Tape:
    """A history of these messages.

    Attributes:
        dropped: how many older ones are no longer kept.
        started: where each reading began.
    """

    messages: Sequence[DomainEvent | HistoryRecord]
    dropped: int = 0
    started: list[int | datetime] = field(default_factory=list)

    def first(self) -> HistoryRecord | None:
        return next(iter(self._all()), None)

    def end(self) -> int:
        return self.dropped + len(self.messages)

    def read(
        self, *, start: int | datetime = 0, end: int | None = None
    ) -> Generator[HistoryRecord, None, None]:
        self.started.append(start)
        for each in self._all():
            place = start if isinstance(start, int) else 0
            if place <= each.offset and (end is None or each.offset < end):
                yield each

    def close(self) -> None:
        """Nothing is held."""

    def _all(self) -> list[HistoryRecord]:
        return [
            recorded(each, offset)
            if isinstance(each, DomainEvent)
            else HistoryRecord(
                offset=offset,
                topic=each.topic,
                event_id=each.event_id,
                type=each.type,
                body=each.body,
            )
            for offset, each in enumerate(self.messages, self.dropped)
        ]
