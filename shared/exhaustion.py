"""Says which resource of the machine or the server has run out, if that is why something failed."""

import errno
import os
from collections.abc import Iterator

DISK_FULL = "the disk is full"
NO_FILE_DESCRIPTORS = "too many open files"

_ERROR_NUMBERS = {
    errno.ENOSPC: DISK_FULL,
    errno.EDQUOT: DISK_FULL,
    errno.EMFILE: NO_FILE_DESCRIPTORS,
    errno.ENFILE: NO_FILE_DESCRIPTORS,
}

_SQL_STATES = {
    "53100": DISK_FULL,
    "53200": "the database server is out of memory",
}
"""PostgreSQL's: https://www.postgresql.org/docs/18/errcodes-appendix.html"""

NO_CONNECTIONS = "the database server has no connection left for this service"
_CONNECTION_REFUSALS = (
    "too many connections for role",
    "too many connections for database",
    "too many clients already",
    "remaining connection slots are reserved",
)
"""PostgreSQL's messages: the driver gives no code for an error before the login."""

_SQLITE_FULL, _SQLITE_CANTOPEN, _SQLITE_IOERR_SHMSIZE = 13, 14, 10 | 19 << 8
"""SQLite's: https://www.sqlite.org/rescode.html. sqlite3 is not imported for its names, since not
every process uses it."""


def exhausted_resource(error: BaseException) -> str | None:
    """Which resource had run out when an error was raised, such as "the disk is full".

    Returns:
        A few words without personal data; None if the error has another reason.
    """
    return next((found for each in _chain(error) if (found := _resource(each))), None)


def with_resource(sentence: str, error: BaseException) -> str:
    """A sentence, followed by the resource that had run out if that is the reason of an error."""
    resource = exhausted_resource(error)
    return f"{sentence}: {resource}" if resource else sentence


def reason_of(error: OSError) -> str:
    """The operating system's reason for an error; the error's class if it has no number.

    The reason holds no name of a file or a server, and none of what was read or written.
    """
    return error.strerror or (os.strerror(error.errno) if error.errno else type(error).__name__)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, the driver's error within SQLAlchemy's, and their causes."""
    while error is not None:
        yield error
        original = getattr(error, "orig", None)
        if isinstance(original, BaseException):
            yield original
        error = error.__cause__


def _resource(error: BaseException) -> str | None:
    if isinstance(error, OSError):
        return _ERROR_NUMBERS.get(error.errno or 0)
    sqlite_code, sql_state = getattr(error, "sqlite_errorcode", 0), getattr(error, "sqlstate", "")
    if sqlite_code in (_SQLITE_FULL, _SQLITE_IOERR_SHMSIZE):
        return DISK_FULL
    if sql_state is None and any(each in str(error) for each in _CONNECTION_REFUSALS):
        return NO_CONNECTIONS
    # When they cannot open a file or a connection, the drivers do not say why.
    hides_reason = sqlite_code & 0xFF == _SQLITE_CANTOPEN or sql_state is None
    if hides_reason and not _can_open_files():
        return NO_FILE_DESCRIPTORS
    return _SQL_STATES.get(sql_state or "")


def _can_open_files() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    return True
