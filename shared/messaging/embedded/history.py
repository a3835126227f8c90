"""Reads the embedded broker's history, a page at a time."""

import sqlite3
import threading
from collections.abc import Generator
from contextlib import closing
from datetime import datetime

from shared.messaging.embedded.file import BrokerFile
from shared.messaging.ports.history import HistoryRecord

_PAGE_SIZE = 500
_PAGE_BYTES = 8 * 1024 * 1024
"""Records of one page, and bytes of their bodies."""

_POLL_INTERVAL = 0.05
"""Seconds between two polls for new records."""

_READ_PAGE = """
    SELECT number - 1, topic, event_id, type, body FROM history
    WHERE number > ? AND number <= coalesce(?, number) ORDER BY number LIMIT ?
"""

_FIND_OFFSET = """
    SELECT coalesce((SELECT number FROM history WHERE published_at >= ?
                     ORDER BY published_at, number LIMIT 1),
                    (SELECT max(number) + 1 FROM history), 1) - 1
"""


class EmbeddedHistory:
    """A reader of the table. The offset of a row is its number less one, so the first is 0."""

    def __init__(self, file: BrokerFile) -> None:
        self._file = file
        self._closed = threading.Event()

    def first(self) -> HistoryRecord | None:
        with self._file.opened() as connection:
            return next(iter(_page(connection, 0, end=None, size=1)), None)

    def end(self) -> int:
        # Numbers are never reused, so the sequence also counts rows that were dropped.
        query = "SELECT seq FROM sqlite_sequence WHERE name = 'history'"
        with self._file.opened() as connection:
            row = connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    def read(
        self, *, start: int | datetime = 0, end: int | None = None
    ) -> Generator[HistoryRecord, None, None]:
        """Between two pages no lock is held and no transaction is open."""
        with self._file.opened() as connection:
            offset = start if isinstance(start, int) else _offset_at(connection, start)
            while not self._closed.is_set():
                page = _page(connection, offset, end=end, size=_PAGE_SIZE)
                yield from page
                if page:
                    offset = page[-1].offset + 1
                elif end is None:
                    self._closed.wait(_POLL_INTERVAL)
                else:
                    return

    def close(self) -> None:
        self._closed.set()


def _page(
    connection: sqlite3.Connection, offset: int, *, end: int | None, size: int
) -> list[HistoryRecord]:
    page: list[HistoryRecord] = []
    room = _PAGE_BYTES
    with closing(connection.execute(_READ_PAGE, (offset, end, size))) as rows:
        for number, topic, event_id, type_, body in rows:
            page.append(
                HistoryRecord(offset=number, topic=topic, event_id=event_id, type=type_, body=body)
            )
            room -= len(body)
            if room <= 0:
                break
    return page


def _offset_at(connection: sqlite3.Connection, moment: datetime) -> int:
    """The offset of the first record that arrived at this time or later, else the end."""
    return int(connection.execute(_FIND_OFFSET, (moment.timestamp(),)).fetchone()[0])
