"""Reads the embedded broker's record of all events, a page at a time."""

import sqlite3
import threading
from collections.abc import Generator
from datetime import datetime

from shared.messaging.embedded.file import BrokerFile
from shared.messaging.ports.history import HistoryRecord

_PAGE = 500
_LOOK_EVERY = 0.05
"""Seconds between two looks for what is new."""

_FROM = """
    SELECT number - 1, topic, event_id, type, body FROM history
    WHERE number > ? AND number <= coalesce(?, number) ORDER BY number LIMIT ?
"""


class EmbeddedHistory:
    """A reader of the table. The place of a row is its number less one, so the first is 0."""

    def __init__(self, file: BrokerFile) -> None:
        self._file = file
        self._closed = threading.Event()

    def first(self) -> HistoryRecord | None:
        """The oldest that is kept."""
        with self._file.opened() as connection:
            return next(iter(_page(connection, 0, end=None, most=1)), None)

    def end(self) -> int:
        """The place after the last."""
        # Numbers are given out once, so a row that was dropped still counts.
        query = "SELECT seq FROM sqlite_sequence WHERE name = 'history'"
        with self._file.opened() as connection:
            row = connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    def read(
        self, *, start: int | datetime = 0, end: int | None = None
    ) -> Generator[HistoryRecord, None, None]:
        """Read in order; no lock is held and no transaction open in between."""
        with self._file.opened() as connection:
            place = start if isinstance(start, int) else _place_at(connection, start)
            while not self._closed.is_set():
                page = _page(connection, place, end=end, most=_PAGE)
                yield from page
                if page:
                    place = page[-1].offset + 1
                elif end is None:
                    self._closed.wait(_LOOK_EVERY)
                else:
                    return

    def close(self) -> None:
        """End a reading elsewhere, soon."""
        self._closed.set()


def _page(
    connection: sqlite3.Connection, place: int, *, end: int | None, most: int
) -> list[HistoryRecord]:
    return [
        HistoryRecord(offset=offset, topic=topic, event_id=event_id, type=kind, body=body)
        for offset, topic, event_id, kind, body in connection.execute(_FROM, (place, end, most))
    ]


def _place_at(connection: sqlite3.Connection, moment: datetime) -> int:
    """The place of the first that arrived then or later; the end, if none did."""
    query = """
        SELECT coalesce((SELECT min(number) FROM history WHERE published_at >= ?),
                        (SELECT max(number) + 1 FROM history), 1) - 1
    """
    return int(connection.execute(query, (moment.timestamp(),)).fetchone()[0])
