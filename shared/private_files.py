"""Creates files and folders that only their owner can use, whatever the umask is.

What exists already keeps its permissions: its owner may have changed them for a backup.
"""

import os
from contextlib import suppress
from pathlib import Path
from threading import Lock

FILE_MODE = 0o600
_FOLDER_MODE = 0o700
_CREATING = Lock()


def create_folder(path: Path) -> None:
    """Create a folder and its parents, except those that exist.

    Raises:
        OSError: it cannot be created, or is a file.
    """
    if not path.parent.exists():
        create_folder(path.parent)
    path.mkdir(mode=_FOLDER_MODE, exist_ok=True)


def create_file(path: Path) -> None:
    """Create an empty file, unless it exists; one that exists is not opened.

    SQLite gives the files that it makes beside a database (-wal, -shm) the database's mode. Closing
    a file that this process has opened with SQLite would release SQLite's locks on it, and another
    process would then delete the write-ahead log while it is in use.
    Source: https://sqlite.org/howtocorrupt.html, section 2.2

    Raises:
        OSError: it cannot be created.
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_RDONLY | os.O_CLOEXEC
    # Another thread must not find the file, and open it with SQLite, before it is closed here.
    with _CREATING, suppress(FileExistsError):
        os.close(os.open(path.resolve(), flags, FILE_MODE))
