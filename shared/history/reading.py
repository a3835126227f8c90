"""The record of what happened, as events.

Guarantees: an event that was sent twice is told once; what cannot be read is named by its id,
skipped and counted; memory does not grow with what is read.
"""

import re
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, Self
from uuid import UUID

from pydantic_core import from_json

from shared.errors import InvalidInput, MalformedEvent
from shared.events import DomainEvent, concrete_types, wire_type
from shared.messaging.codec import decode
from shared.messaging.identity import plain_id
from shared.messaging.ports.history import HistoryReader, HistoryRecord
from shared.messaging.topology import topics_matched

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}

_EARLIER = timedelta(minutes=1)
"""How much further back a reading begins than was asked for: clocks of machines differ."""

_PART = 1_000
"""Places that are read at first, backwards."""


class HistoryEvent(NamedTuple):
    """An event, and the message that it stands in."""

    record: HistoryRecord
    event: DomainEvent


class Unreadable(NamedTuple):
    """A message that is no event.

    Attributes:
        which: its id, and its place.
        reason: a sentence that repeats nothing of its content.
    """

    which: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events.

    Attributes:
        types: on the wire; empty for every type.
        topics: of binding keys one must let it through, as into a queue; empty for all.
        order: its id; None for all.
        since: when they occurred at the earliest; None for as far back as there is.
    """

    types: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    order: str | None = None
    since: datetime | None = None

    def fits(self, event: DomainEvent) -> bool:
        """Whether this event is one of them, its message let through."""
        return (
            (not self.types or event.type in self.types)
            and (self.order is None or event.subject == self.order)
            and (self.since is None or event.occurred_at >= self.since)
        )

    def rules_out(self, record: HistoryRecord) -> bool:
        """Whether a message says that it is not: a tenth of the work of reading it as an event."""
        if self.topics and not _lets_through(self.topics, record.topic):
            return True
        if not self.types and self.order is None:
            return False
        try:
            said = from_json(record.body)
        except ValueError:
            return False
        if not isinstance(said, dict) or not isinstance(said.get("type"), str):
            return False
        is_other = self.order is not None and said.get("subject", self.order) != self.order
        return is_other or (bool(self.types) and said["type"] not in self.types)


class EventReader:
    """What is wanted of a history, from a place or a time on, in order of arrival.

    Args:
        start: a place; by default the time that is wanted, or the beginning.
        end: the place to stop before; None to wait for more.
        tell: told of each message that is no event.

    Attributes:
        place: after the last that was looked at.
        unreadable: how many were no events.
    """

    def __init__(
        self,
        history: HistoryReader,
        wanted: EventFilter,
        *,
        start: int | None = None,
        end: int | None = None,
        tell: Callable[[Unreadable], None] = lambda _: None,
    ) -> None:
        self.place = start or 0
        self.unreadable = 0
        self._history = history
        self._wanted = wanted
        self._start = start
        self._end = end
        self._tell = tell

    def __iter__(self) -> Iterator[HistoryEvent]:
        contracts = {wire_type(each): each for each in concrete_types()}
        start: int | datetime = self._start or 0
        if self._start is None and self._wanted.since is not None:
            start = earlier(self._wanted.since)
        with (
            _Seen() as seen,
            closing(self._history.read(start=start, end=self._end)) as records,
        ):
            for record in records:
                self.place = record.offset + 1
                if self._wanted.rules_out(record):
                    continue
                try:
                    event = decode(record.body, contracts)
                except MalformedEvent as error:
                    self.unreadable += 1
                    self._tell(_unreadable(record, error))
                    continue
                if self._wanted.fits(event) and seen.is_new(event.event_id):
                    yield HistoryEvent(record, event)


class LatestEvents:
    """The newest that are wanted of a history, the oldest of them first.

    It is read backwards, part by part, no further than it takes. Of an event that was sent twice
    a late copy may be told, where the first is further back.

    Args:
        most: how many.
        tell: told of each message that is no event, in the parts that were read.

    Attributes:
        unreadable: how many these were.
    """

    def __init__(
        self,
        history: HistoryReader,
        wanted: EventFilter,
        most: int,
        *,
        tell: Callable[[Unreadable], None] = lambda _: None,
    ) -> None:
        self.unreadable = 0
        self._history = history
        self._wanted = wanted
        self._most = most
        self._tell = tell

    def __iter__(self) -> Iterator[HistoryEvent]:
        found: dict[UUID, HistoryEvent] = {}
        end = self._history.end()
        start, size = self._beginning(end), max(_PART, self._most)
        while start < end and len(found) < self._most:
            part = max(start, end - size)
            found = {
                each: told for each, told in self._part(part, end) if each not in found
            } | found
            end, size = part, size * 4
        yield from list(found.values())[-self._most :]

    def _beginning(self, end: int) -> int:
        if self._wanted.since is None:
            first = self._history.first()
        else:
            with closing(self._history.read(start=earlier(self._wanted.since), end=end)) as read:
                first = next(read, None)
        return end if first is None else first.offset

    def _part(self, start: int, end: int) -> list[tuple[UUID, HistoryEvent]]:
        reading = EventReader(self._history, self._wanted, start=start, end=end, tell=self._tell)
        found = [(each.event.event_id, each) for each in deque(reading, self._most)]
        self.unreadable += reading.unreadable
        return found


class _Seen:
    """Ids, of which the more are on disk the more there are: a copy may come days later."""

    def __enter__(self) -> Self:
        self._ids = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -32768"):
            self._ids.execute(f"PRAGMA {pragma}")
        self._ids.execute("CREATE TABLE seen (id BLOB PRIMARY KEY) WITHOUT ROWID")
        self._ids.execute("BEGIN")
        return self

    def __exit__(self, *_: object) -> None:
        self._ids.close()

    def is_new(self, event_id: UUID) -> bool:
        added = self._ids.execute("INSERT OR IGNORE INTO seen VALUES (?)", (event_id.bytes,))
        return added.rowcount == 1


@lru_cache(maxsize=1024)
def _lets_through(topics: frozenset[str], topic: str) -> bool:
    return topics_matched(topics, topic)


def earlier(since: datetime) -> datetime:
    """Where to begin for what occurred since: it was published later, by another clock perhaps."""
    return since - _EARLIER if since - datetime.min.replace(tzinfo=UTC) > _EARLIER else since


def types_named(name: str) -> frozenset[str]:
    """The types on the wire that a person means by `order.placed` or `order.placed.v1`.

    Raises:
        InvalidInput: there is no such type.
    """
    known = {wire_type(each): each.topic for each in concrete_types()}
    found = frozenset(wire for wire, topic in known.items() if name in (wire, topic))
    if not found:
        there_are = ", ".join(sorted(set(known.values())))
        raise InvalidInput(f"there is no type of event {name!r}; there are {there_are}")
    return found


def moment(text: str, *, now: datetime | None = None) -> datetime:
    """The time that a person means by `2d`, `3h`, `2026-11-20` or `2026-11-20T14:30`.

    Without an offset it is the local time of this machine.

    Raises:
        InvalidInput: it is none of that, or further back than the calendar goes.
    """
    now = now or datetime.now(UTC)
    ago = re.fullmatch(r"([0-9]{1,6})([dhms])", text)
    try:
        if ago:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return _date(text).astimezone(UTC)
    except (OverflowError, ValueError):  # the latter for a local time in the first of all days
        raise InvalidInput(f"--since: {text!r} is too far back, or ahead, for a calendar") from None


def _date(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"--since: {text!r} is no time; it should be like 2d, 3h, 30m, 2026-11-20 or "
            "2026-11-20T14:30"
        ) from None


def _unreadable(record: HistoryRecord, error: MalformedEvent) -> Unreadable:
    event_id = plain_id(record.event_id) or "a message without an id"
    return Unreadable(f"{event_id} at place {record.offset}", str(error))
