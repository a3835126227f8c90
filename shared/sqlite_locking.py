"""Begins write transactions on SQLite files that several processes share.

SQLite's own busy handler sleeps up to 100 ms at a time, so most of a dozen writers would sleep
while none writes. `begin_writing` polls more often. The threads of one process should share a lock
for each file and call it one at a time.
"""

import sqlite3
import time

LONGEST_WAIT = 30.0
"""Seconds that a writer waits for other processes."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.0002, 0.005
"""Seconds between two attempts, doubled each time. Most transactions end within a millisecond."""


def begin_writing(connection: sqlite3.Connection) -> None:
    """Execute BEGIN IMMEDIATE, and try again while another process writes.

    Raises:
        sqlite3.OperationalError: the file was locked for longer than `LONGEST_WAIT`, or there is
            another error.
    """
    deadline = time.monotonic() + LONGEST_WAIT
    connection.execute("PRAGMA busy_timeout = 0")
    pause = _FIRST_PAUSE
    try:
        while not _has_begun(connection, is_last_try=time.monotonic() > deadline):
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
    finally:
        # Other statements may find the file locked too, such as the first read during a recovery.
        connection.execute(f"PRAGMA busy_timeout = {LONGEST_WAIT * 1000:.0f}")


def _has_begun(connection: sqlite3.Connection, *, is_last_try: bool) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        # The low byte is the primary code; SQLITE_BUSY has several extended codes.
        if is_last_try or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True
