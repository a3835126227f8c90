"""The file that the embedded broker keeps everything in.

Guarantees: what a `writing` block wrote is on the disk when it ends, or nothing of it is; any
number of processes may open a new file at once; whatever is wrong with the file is told in one
sentence.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

from filelock import FileLock, Timeout

from shared.errors import BrokerUnavailable
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
        attempt_limit INTEGER  -- NULL: a dead queue, where nothing is counted
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
        event INTEGER,  -- where in history its body stands
        body BLOB,      -- its own, where history does not have the same
        replays INTEGER NOT NULL,
        low_priority INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        ready_at REAL NOT NULL DEFAULT 0,
        holder TEXT,
        reason TEXT     -- why it is dead
    );
    -- Covers the claim, so that looking past what is delayed never leaves the index.
    CREATE INDEX waiting ON messages (queue, low_priority, number, ready_at)
        WHERE holder IS NULL;
    CREATE TABLE consumers (
        id TEXT PRIMARY KEY,
        queue TEXT NOT NULL
    ) WITHOUT ROWID;
    """,
)


@dataclass(frozen=True, slots=True)
class BrokerFile:
    """Where it is, and how it is opened.

    Attributes:
        path: made when it is missing, with the folders above it.
    """

    path: Path
    _turn: RLock = field(default_factory=RLock, init=False, repr=False, compare=False)

    def open(self) -> sqlite3.Connection:
        """A new connection, for one thread at a time; the tables are there.

        Raises:
            BrokerUnavailable: the file cannot be used.
        """
        with self.translate_errors():
            self._holders.mkdir(parents=True, exist_ok=True)
            connection = self._connect()
            try:
                if _version(connection) != len(_MIGRATIONS):
                    self._migrate(connection)
            except BaseException:
                connection.close()
                raise
            return connection

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """A connection for one piece of work."""
        with closing(self.open()) as connection, self.translate_errors():
            yield connection

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Turn what SQLite and the system say about the file into one sentence."""
        try:
            yield
        except (sqlite3.Error, OSError, NotImplementedError) as error:
            said = (isinstance(error, OSError) and error.strerror) or error
            raise BrokerUnavailable(
                f"the embedded broker cannot use its file {self.path}: {said}; "
                "it needs a local disk with space, and a file and folder that may be written"
            ) from error

    @contextmanager
    def writing(self, connection: sqlite3.Connection) -> Iterator[None]:
        """One transaction, all or nothing; it waits for its turn before it reads anything."""
        with self._turn:
            begin_writing(connection)
            try:
                yield
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk has rolled it back already
                    connection.execute("ROLLBACK")
                raise

    def lock_of(self, consumer: str) -> FileLock:
        """The lock that a consumer holds for as long as its process lives."""
        # Any thread may release it; a soft lock would outlive its process.
        return FileLock(self._lock_path(consumer), thread_local=False, fallback_to_soft=False)

    def is_held(self, consumer: str) -> bool:
        """Whether the process of a consumer lives."""
        if not self._lock_path(consumer).exists():
            return False
        try:
            self.lock_of(consumer).acquire(blocking=False).lock.release()
        except Timeout:
            return True
        return False

    def remove_lock_of(self, consumer: str) -> None:
        """Remove the lock of a consumer that is no longer registered, so nobody asks for it."""
        self._lock_path(consumer).unlink(missing_ok=True)

    @property
    def _holders(self) -> Path:
        return self.path.with_name(f"{self.path.name}.holders")

    def _lock_path(self, consumer: str) -> Path:
        return self._holders / f"{consumer}.lock"

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=LONGEST_WAIT, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        # Changing to WAL fails at once, without the busy timeout, while another does the same.
        with FileLock(f"{self.path}.lock", thread_local=False, fallback_to_soft=False):
            connection.execute("PRAGMA journal_mode = WAL")
            done = _version(connection)
            if done > len(_MIGRATIONS):
                raise BrokerUnavailable(
                    f"the embedded broker's file {self.path} was made by a newer version of shop; "
                    "use that version, or another file"
                )
            for number, script in enumerate(_MIGRATIONS[done:], start=done + 1):
                connection.executescript(
                    f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;"
                )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
