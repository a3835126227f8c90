"""The SQLite file of the embedded broker: its tables, connections and transactions.

Guarantees: a `writing` block is on the disk when it ends, or not at all; any number of processes
may open a new file at once; every problem with the file is reported in one sentence.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import RLock

from filelock import FileLock, Timeout

from shared.errors import BrokerUnavailable
from shared.exhaustion import exhausted_resource
from shared.private_files import FILE_MODE, create_file, create_folder
from shared.sqlite_locking import LONGEST_WAIT, begin_writing

_MIGRATIONS = (
    """
    CREATE TABLE history (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        event_id TEXT NOT NULL UNIQUE,
        topic TEXT NOT NULL,
        type TEXT NOT NULL,
        source TEXT NOT NULL,
        correlation_id TEXT NOT NULL,
        body BLOB NOT NULL,
        occurred_at REAL,
        published_at REAL NOT NULL
    );
    CREATE TABLE queues (
        name TEXT PRIMARY KEY,
        step REAL NOT NULL,
        longest REAL NOT NULL,
        attempt_limit INTEGER  -- NULL for a dead queue, which counts no attempts
    ) WITHOUT ROWID;
    CREATE TABLE bindings (
        queue TEXT NOT NULL,
        pattern TEXT NOT NULL,
        PRIMARY KEY (queue, pattern)
    ) WITHOUT ROWID;
    CREATE TABLE messages (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        queue TEXT NOT NULL,
        event_id TEXT NOT NULL,
        type TEXT NOT NULL,
        event INTEGER,  -- number of the history row that has its body
        body BLOB,      -- its own body if the history has not the same
        replays INTEGER NOT NULL,
        low_priority INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        ready_at REAL NOT NULL DEFAULT 0,
        holder TEXT,
        reason TEXT     -- why it is dead
    );
    -- Covers the claim, so that skipping delayed messages reads the index alone.
    CREATE INDEX waiting ON messages (queue, low_priority, number, ready_at)
        WHERE holder IS NULL;
    CREATE TABLE consumers (
        id TEXT PRIMARY KEY,
        queue TEXT NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    -- Of a message from before this, only its queue is certain: it counts as a replay to it.
    ALTER TABLE messages ADD COLUMN topic TEXT NOT NULL DEFAULT '';
    ALTER TABLE messages ADD COLUMN is_replay INTEGER NOT NULL DEFAULT 1;
    UPDATE messages SET topic = iif(queue LIKE '%.dead', substr(queue, 1, length(queue) - 5), queue)
    """,
    "CREATE TABLE probe (filler BLOB NOT NULL)",  # what `BrokerFile.probe` writes
    "CREATE INDEX arrivals ON history (published_at)",
)

_PROBE_BYTES = 64 * 1024


class BrokerFile:
    """Opens connections to the file, which it creates for its owner only, and locks it to write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_folder = path.with_name(f"{path.name}.holders")
        self._threads = RLock()

    def open(self) -> sqlite3.Connection:
        """Open a connection, for one thread at a time, to a file that has all tables.

        Raises:
            BrokerUnavailable: the file cannot be used.
        """
        with self.translate_errors():
            create_folder(self._lock_folder)
            connection = self._connect()
            try:
                connection.execute("PRAGMA synchronous = FULL")
                if _version(connection) != len(_MIGRATIONS):
                    self._migrate(connection)
            except BaseException:
                connection.close()
                raise
            return connection

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """A connection, as `open` returns it, that is closed at the end of the block."""
        with closing(self.open()) as connection, self.translate_errors():
            yield connection

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Raise BrokerUnavailable for errors of SQLite and the file system."""
        try:
            yield
        except (sqlite3.Error, OSError, NotImplementedError) as error:
            reason = exhausted_resource(error) or getattr(error, "strerror", None) or error
            raise BrokerUnavailable(
                f"the embedded broker cannot use its file {self.path}: {reason}; "
                "it needs a local disk with space, and a file and folder that may be written"
            ) from error

    @contextmanager
    def writing(self, connection: sqlite3.Connection) -> Iterator[None]:
        """One transaction, all or nothing, with the write lock from its start."""
        with self._threads:
            begin_writing(connection)
            try:
                yield
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite has rolled back if the disk is full
                    connection.execute("ROLLBACK")
                raise

    def probe(self, connection: sqlite3.Connection) -> None:
        """Write a row that takes new disk space; to be called within a `writing` block."""
        connection.execute("DELETE FROM probe")
        connection.execute("INSERT INTO probe VALUES (randomblob(?))", (_PROBE_BYTES,))

    def lock_of(self, consumer: str) -> FileLock:
        """The lock that a consumer holds while its process lives."""
        # Any thread may release it. A soft lock would outlive its process.
        return _file_lock(self._lock_path(consumer))

    def is_alive(self, consumer: str) -> bool:
        """Whether the process of a consumer lives."""
        if not self._lock_path(consumer).exists():
            return False
        try:
            self.lock_of(consumer).acquire(blocking=False).lock.release()
        except Timeout:
            return True
        return False

    def remove_lock_of(self, consumer: str) -> None:
        """Delete the lock file of a former consumer."""
        self._lock_path(consumer).unlink(missing_ok=True)

    def _lock_path(self, consumer: str) -> Path:
        return self._lock_folder / f"{consumer}.lock"

    def _connect(self) -> sqlite3.Connection:
        create_file(self.path)
        return sqlite3.connect(
            self.path, timeout=LONGEST_WAIT, isolation_level=None, check_same_thread=False
        )

    def _migrate(self, connection: sqlite3.Connection) -> None:
        # A change to WAL fails at once, without the busy timeout, if another process does the same.
        with _file_lock(self.path.with_name(f"{self.path.name}.lock")):
            connection.execute("PRAGMA journal_mode = WAL")
            version = _version(connection)
            if version > len(_MIGRATIONS):
                raise BrokerUnavailable(
                    f"the embedded broker's file {self.path} was made by a newer version of shop; "
                    "use that version, or another file"
                )
            for number, script in enumerate(_MIGRATIONS[version:], start=version + 1):
                connection.executescript(
                    f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;"
                )


def _file_lock(path: Path) -> FileLock:
    return FileLock(path, mode=FILE_MODE, thread_local=False, fallback_to_soft=False)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
