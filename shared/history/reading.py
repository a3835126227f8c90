"""Reads the history as events, filtered.

Guarantees: an event that was published twice is returned once; a record that is not an event, or
is a forged one, is reported, skipped and counted; memory use does not depend on the size of the
history, nor on its content.
"""

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, Self
from uuid import UUID

from shared.errors import ForgedEvent, MalformedEvent
from shared.events import DomainEvent, concrete_types, wire_type
from shared.messaging.authenticity import require_authentic_record
from shared.messaging.codec import Contracts, event_of, parse, read
from shared.messaging.identity import safe_id
from shared.messaging.ports.history import HistoryReader, HistoryRecord
from shared.messaging.topology import topics_matched

_CLOCK_TOLERANCE = timedelta(minutes=1)
"""How much earlier than the requested time a reading starts, because clocks of machines differ."""

_FIRST_CHUNK = 100
"""Offsets that `LatestEvents` reads first; each further chunk is four times as large."""


class HistoryEvent(NamedTuple):
    """An event and the record that holds it."""

    record: HistoryRecord
    event: DomainEvent


class UnreadableRecord(NamedTuple):
    """A record that is not an event, or a forged one.

    Attributes:
        label: the id of the message and its offset in the history.
        reason: why it is not an event, or is forged, without any of its content.
    """

    label: str
    reason: str
    is_forged: bool = False

    @property
    def sentence(self) -> str:
        """A sentence for people."""
        flaw = "forged" if self.is_forged else "unreadable"
        return f"{flaw}, skipped: {self.label}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Selects events of the history; by default all.

    Attributes:
        types: types on the wire; empty for every type.
        topics: binding keys, of which one must match the routing key; empty for every topic.
        order_id: None for all orders.
        since: the earliest time of occurrence; None for no limit.
        offsets: those of the records to read; None for all.
    """

    types: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    order_id: str | None = None
    since: datetime | None = None
    offsets: frozenset[int] | None = None

    def matches(self, event: DomainEvent) -> bool:
        """Whether the event passes; `topics` and `offsets` are checked by `rules_out` alone."""
        return (
            (not self.types or event.type in self.types)
            and (self.order_id is None or event.subject == self.order_id)
            and (self.since is None or event.occurred_at >= self.since)
        )

    def rules_out(self, record: HistoryRecord) -> bool:
        """Whether a record cannot pass; this costs a tenth of decoding its event."""
        is_elsewhere = self.offsets is not None and record.offset not in self.offsets
        if is_elsewhere or (self.topics and not _is_routed(self.topics, record.topic)):
            return True
        if not self.types and self.order_id is None:
            return False
        try:
            fields = parse(record.body)
        except MalformedEvent:
            return False
        if not isinstance(fields.get("type"), str):
            return False
        if self.types and fields["type"] not in self.types:
            return True
        return self.order_id is not None and fields.get("subject", self.order_id) != self.order_id


class EventReader:
    """Iterates over the events of a history that pass a filter, in order of arrival.

    Args:
        start: the first offset; by default the filter's `since`, or else the beginning.
        end: the offset to stop before; None to wait for new events without end.
        on_unreadable: called with each record that is not an event.

    Attributes:
        next_offset: the offset after the last record that was read.
        unreadable: the number of records that are not events.
    """

    def __init__(
        self,
        history: HistoryReader,
        event_filter: EventFilter,
        *,
        start: int | None = None,
        end: int | None = None,
        on_unreadable: Callable[[UnreadableRecord], None] = lambda _: None,
    ) -> None:
        self.next_offset = start or 0
        self.unreadable = 0
        self._history = history
        self._filter = event_filter
        self._start = start
        self._end = end
        self._on_unreadable = on_unreadable

    def __iter__(self) -> Iterator[HistoryEvent]:
        contracts = {wire_type(contract): contract for contract in concrete_types()}
        start: int | datetime = self._start or 0
        if self._start is None and self._filter.since is not None:
            start = _with_tolerance(self._filter.since)
        with (
            _SeenIds() as seen,
            closing(self._history.read(start=start, end=self._end)) as records,
        ):
            for record in records:
                self.next_offset = record.offset + 1
                if self._filter.rules_out(record):
                    continue
                try:
                    event = _event_of(record, contracts)
                except (MalformedEvent, ForgedEvent) as error:
                    self.unreadable += 1
                    self._on_unreadable(_unreadable(record, error))
                    continue
                if self._filter.matches(event) and seen.add(event.event_id):
                    yield HistoryEvent(record, event)


class LatestEvents:
    """Iterates over the latest events of a history that pass a filter, oldest first.

    The history is read backwards in chunks, only as far as needed. Of an event that was published
    twice, the later copy is returned if the first one is in a chunk that was not read.

    Args:
        limit: the maximum number of events.
        on_unreadable: called with each record that is not an event in the chunks that are read.

    Attributes:
        unreadable: the number of these records.
    """

    def __init__(
        self,
        history: HistoryReader,
        event_filter: EventFilter,
        limit: int,
        *,
        on_unreadable: Callable[[UnreadableRecord], None] = lambda _: None,
    ) -> None:
        self.unreadable = 0
        self._history = history
        self._filter = event_filter
        self._limit = limit
        self._on_unreadable = on_unreadable

    def __iter__(self) -> Iterator[HistoryEvent]:
        """Find the offsets first, then read these records again: bodies need not be kept."""
        offsets = self._offsets()
        if not offsets:
            return
        selected = replace(self._filter, offsets=frozenset(offsets))
        yield from EventReader(self._history, selected, start=min(offsets), end=max(offsets) + 1)

    def _offsets(self) -> list[int]:
        latest: dict[UUID, int] = {}
        end = self._history.end()
        first, size = self._first_offset(end), max(_FIRST_CHUNK, self._limit)
        while first < end and len(latest) < self._limit:
            start = max(first, end - size)
            reader = EventReader(
                self._history, self._filter, start=start, end=end, on_unreadable=self._on_unreadable
            )
            found = ((item.event.event_id, item.record.offset) for item in reader)
            older = dict(deque(found, self._limit))
            latest = {key: at for key, at in older.items() if key not in latest} | latest
            self.unreadable += reader.unreadable
            end, size = start, size * 4
        return list(latest.values())[-self._limit :]

    def _first_offset(self, end: int) -> int:
        if self._filter.since is None:
            first = self._history.first()
        else:
            start = _with_tolerance(self._filter.since)
            with closing(self._history.read(start=start, end=end)) as records:
                first = next(records, None)
        return end if first is None else first.offset


class _SeenIds:
    """A set of event ids that moves to disk as it grows: a copy may come days after the first."""

    def __enter__(self) -> Self:
        self._ids = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -32768"):
            self._ids.execute(f"PRAGMA {pragma}")
        self._ids.execute("CREATE TABLE seen (id BLOB PRIMARY KEY) WITHOUT ROWID")
        self._ids.execute("BEGIN")
        return self

    def __exit__(self, *_: object) -> None:
        self._ids.close()

    def add(self, event_id: UUID) -> bool:
        """Add an id; False if it is there already."""
        added = self._ids.execute("INSERT OR IGNORE INTO seen VALUES (?)", (event_id.bytes,))
        return added.rowcount == 1


@lru_cache(maxsize=1024)
def _is_routed(topics: frozenset[str], topic: str) -> bool:
    return topics_matched(topics, topic)


def _with_tolerance(since: datetime) -> datetime:
    is_possible = since - datetime.min.replace(tzinfo=UTC) > _CLOCK_TOLERANCE
    return since - _CLOCK_TOLERANCE if is_possible else since


def _event_of(record: HistoryRecord, contracts: Contracts) -> DomainEvent:
    envelope = read(record.body, flaw=record.flaw)
    require_authentic_record(record, envelope, contracts.get(envelope.type))
    return event_of(envelope, contracts)


def _unreadable(record: HistoryRecord, error: MalformedEvent | ForgedEvent) -> UnreadableRecord:
    event_id = safe_id(record.event_id) if record.event_id else "a message without an id"
    label = f"{event_id} at offset {record.offset}"
    return UnreadableRecord(label, str(error), isinstance(error, ForgedEvent))
