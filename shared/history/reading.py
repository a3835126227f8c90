"""Reads the history as events, filtered.

Guarantees: an event that was published twice is returned once; a record that is not an event, or
is a forged one, is reported, skipped and counted; memory use does not depend on the size of the
history, nor on its content.
"""

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, Self
from uuid import UUID

from shared.errors import ForgedEvent, MalformedEvent
from shared.events import DomainEvent, concrete_types, wire_type
from shared.messaging.authenticity import require_authentic_record
from shared.messaging.codec import Contracts, event_of, parse_object, read
from shared.messaging.identity import safe_id
from shared.messaging.ports.history import HistoryReader, HistoryRecord
from shared.messaging.topology import topics_matched

_CLOCK_TOLERANCE = timedelta(minutes=1)
"""How much earlier than the requested time to start, because the clocks of machines differ."""

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
        types: types on the wire; empty for all.
        topics: binding keys, of which one must match the routing key; empty for all.
        order_id: None for all.
        since: the earliest time of occurrence; None for all.
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
            fields = parse_object(record.body)
        except MalformedEvent:
            return False
        if not isinstance(fields.get("type"), str):
            return False
        if self.types and fields["type"] not in self.types:
            return True
        return self.order_id is not None and fields.get("subject") not in (None, self.order_id)


@dataclass(eq=False)
class EventReader:
    """Iterates over the events of a history that pass a filter, in order of arrival.

    Attributes:
        start: the first offset; by default the filter's `since`, or else the beginning.
        end: the offset to stop before; None to wait for new events without end.
        on_unreadable: called with each record that is not an event.
        next_offset: the offset after the last record that was read.
        unreadable: the number of records that are not events.
    """

    history: HistoryReader
    event_filter: EventFilter
    _: KW_ONLY
    start: int | None = None
    end: int | None = None
    on_unreadable: Callable[[UnreadableRecord], None] = lambda _: None
    next_offset: int = field(init=False)
    unreadable: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.next_offset = self.start or 0

    def __iter__(self) -> Iterator[HistoryEvent]:
        contracts = {wire_type(contract): contract for contract in concrete_types()}
        start: int | datetime = self.start or 0
        if self.start is None and self.event_filter.since is not None:
            start = _with_tolerance(self.event_filter.since)
        with _SeenIds() as seen, closing(self.history.read(start=start, end=self.end)) as records:
            for record in records:
                self.next_offset = record.offset + 1
                if self.event_filter.rules_out(record):
                    continue
                try:
                    event = _event_of(record, contracts)
                except (MalformedEvent, ForgedEvent) as error:
                    self.unreadable += 1
                    self.on_unreadable(_unreadable(record, error))
                    continue
                if self.event_filter.matches(event) and seen.add(event.event_id):
                    yield HistoryEvent(record, event)


@dataclass(eq=False)
class LatestEvents:
    """Iterates over the latest events of a history that pass a filter, oldest first.

    The history is read backwards in chunks, only as far as needed. Of an event that was published
    twice, the later copy is returned if the first one is in a chunk that was not read.

    Attributes:
        limit: the maximum number of events.
        on_unreadable: called with each record that is not an event in the chunks that are read.
        unreadable: the number of these records.
    """

    history: HistoryReader
    event_filter: EventFilter
    limit: int
    _: KW_ONLY
    on_unreadable: Callable[[UnreadableRecord], None] = lambda _: None
    unreadable: int = field(default=0, init=False)

    def __iter__(self) -> Iterator[HistoryEvent]:
        """Find the offsets first, then read these records again: bodies need not be kept."""
        offsets = self._offsets()
        if not offsets:
            return
        selected = replace(self.event_filter, offsets=frozenset(offsets))
        yield from EventReader(self.history, selected, start=min(offsets), end=max(offsets) + 1)

    def _offsets(self) -> list[int]:
        latest: dict[UUID, int] = {}
        end = self.history.end()
        first, size = self._first_offset(end), max(_FIRST_CHUNK, self.limit)
        while first < end and len(latest) < self.limit:
            start = max(first, end - size)
            reader = EventReader(
                self.history,
                self.event_filter,
                start=start,
                end=end,
                on_unreadable=self.on_unreadable,
            )
            found = ((item.event.event_id, item.record.offset) for item in reader)
            older = dict(deque(found, self.limit))
            latest = {key: at for key, at in older.items() if key not in latest} | latest
            self.unreadable += reader.unreadable
            end, size = start, size * 4
        return list(latest.values())[-self.limit :]

    def _first_offset(self, end: int) -> int:
        if self.event_filter.since is None:
            first = self.history.first()
        else:
            start = _with_tolerance(self.event_filter.since)
            with closing(self.history.read(start=start, end=end)) as records:
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
        """Add an id; returns False for one that was added before."""
        added = self._ids.execute("INSERT OR IGNORE INTO seen VALUES (?)", (event_id.bytes,))
        return added.rowcount == 1


_is_routed = lru_cache(maxsize=1024)(topics_matched)


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
