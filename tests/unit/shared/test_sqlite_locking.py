import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from subprocess import PIPE, Popen
from threading import Event

import pytest

from shared import sqlite_locking

_WRITE_UNTIL_STDIN_CLOSES = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("writing", flush=True)
sys.stdin.read()
connection.execute("COMMIT")
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
def connection(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(_open(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        yield connection


def _open(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, isolation_level=None, check_same_thread=False)


def test_a_writer_begins_when_the_other_process_has_committed(
    file: Path, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_paused, never = Event(), Event()

    def note_and_sleep(seconds: float) -> None:
        has_paused.set()
        never.wait(seconds)

    monkeypatch.setattr("time.sleep", note_and_sleep)
    command = [sys.executable, "-c", _WRITE_UNTIL_STDIN_CLOSES, str(file)]
    with Popen(command, stdin=PIPE, stdout=PIPE) as other, ThreadPoolExecutor() as threads:
        assert other.stdout is not None
        assert other.stdout.readline() == b"writing\n"

        beginning = threads.submit(sqlite_locking.begin_writing, connection)
        assert has_paused.wait(10)
        other.communicate()

        beginning.result(10)
    assert connection.in_transaction


def test_waiting_too_long_is_an_error_that_the_file_is_locked(
    file: Path, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_locking, "LONGEST_WAIT", 0.05)
    with closing(_open(file)) as other:
        sqlite_locking.begin_writing(other)

        with pytest.raises(sqlite3.OperationalError, match="locked"):
            sqlite_locking.begin_writing(connection)


def test_another_error_is_raised_at_once(connection: sqlite3.Connection) -> None:
    sqlite_locking.begin_writing(connection)

    with pytest.raises(sqlite3.OperationalError, match="within a transaction"):
        sqlite_locking.begin_writing(connection)


def test_other_statements_wait_for_a_lock_as_before(connection: sqlite3.Connection) -> None:
    sqlite_locking.begin_writing(connection)

    [(busy_timeout_ms,)] = connection.execute("PRAGMA busy_timeout")
    assert busy_timeout_ms == sqlite_locking.LONGEST_WAIT * 1000
