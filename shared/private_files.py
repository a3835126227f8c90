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

    A file that exists is not opened: closing it would release the locks that this process holds on
    it through SQLite, and another process would then delete the -wal file that is in use.
    https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_

    SQLite gives the files that it makes beside a database (-wal, -shm) the database's mode.

    Raises:
        OSError: it cannot be created.
    """
    # `O_EXCL` follows no symbolic link.
    flags = os.O_CREAT | os.O_EXCL | os.O_RDONLY | os.O_CLOEXEC
    # Another thread must not find the file, and open it with SQLite, before it is closed here.
    with _CREATING, suppress(FileExistsError):
        os.close(os.open(path.resolve(), flags, FILE_MODE))
