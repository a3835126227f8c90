"""A turn at writing a SQLite file: who waits for another begins as soon as that one has ended.

SQLite's own waiting sleeps, up to 100 ms at a time, so that of a dozen writers most were asleep
while nobody wrote. Here the threads of a process stand at a lock that goes with the file, and the
one in front asks for the file again and again.
"""

import sqlite3
import time

LONGEST_WAIT = 30.0
"""Seconds that a writer waits for other processes."""

_FIRST_ASKED_AFTER, _ASKED_EVERY = 0.0002, 0.005
"""Seconds; in between, each time twice as long. Most transactions end within a millisecond."""


def begin_writing(connection: sqlite3.Connection) -> None:
    """Begin a transaction that may write, once no other does.

    Raises:
        sqlite3.OperationalError: another has been at it for longer than anybody should wait.
    """
    until = time.monotonic() + LONGEST_WAIT
    connection.execute("PRAGMA busy_timeout = 0")
    pause = _FIRST_ASKED_AFTER
    try:
        while not _has_begun(connection, is_last_try=time.monotonic() > until):
            time.sleep(pause)
            pause = min(2 * pause, _ASKED_EVERY)
    finally:
        # For what else may find the file in use: one that opens it, say, while another mends it.
        connection.execute(f"PRAGMA busy_timeout = {LONGEST_WAIT * 1000:.0f}")


def _has_begun(connection: sqlite3.Connection, *, is_last_try: bool) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # extended codes lie above
        if is_last_try or not is_busy:
            raise
        return False
    return True
