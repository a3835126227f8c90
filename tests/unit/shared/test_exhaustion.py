import errno
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from shared.errors import DependencyUnavailable, OperationFailed
from shared.exhaustion import exhausted_resource, with_resource
from shared.storage.failures import WITHHELD, describe


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("a message")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(OSError(errno.ENOSPC, ""), "the disk is full", id="ENOSPC"),
        pytest.param(OSError(errno.EDQUOT, ""), "the disk is full", id="quota"),
        pytest.param(OSError(errno.EMFILE, ""), "too many open files", id="EMFILE"),
        pytest.param(OSError(errno.ENFILE, ""), "too many open files", id="ENFILE"),
        pytest.param(sqlite_error(sqlite3.SQLITE_FULL), "the disk is full", id="SQLite"),
        pytest.param(
            sqlite_error(sqlite3.SQLITE_IOERR_SHMSIZE), "the disk is full", id="SQLite's shm file"
        ),
        pytest.param(psycopg.errors.DiskFull(), "the disk is full", id="PostgreSQL's disk"),
        pytest.param(
            psycopg.errors.OutOfMemory(),
            "the database server is out of memory",
            id="PostgreSQL's memory",
        ),
        pytest.param(OSError(errno.EACCES, ""), None, id="another error of the system"),
        pytest.param(sqlite_error(sqlite3.SQLITE_BUSY), None, id="another error of SQLite"),
        pytest.param(sqlite_error(sqlite3.SQLITE_CANTOPEN), None, id="a file that is missing"),
        pytest.param(psycopg.errors.DeadlockDetected(), None, id="another error of PostgreSQL"),
        pytest.param(ValueError(), None, id="another error"),
    ],
)
def test_the_exhausted_resource_is_named(error: Exception, expected: str | None) -> None:
    assert exhausted_resource(error) == expected


def test_it_is_found_in_the_drivers_error_and_in_causes() -> None:
    wrapped = OperationalError("INSERT", {}, psycopg.errors.DiskFull())
    caused = DependencyUnavailable("away")
    caused.__cause__ = OperationFailed("failed")
    caused.__cause__.__cause__ = wrapped

    assert exhausted_resource(wrapped) == "the disk is full"
    assert with_resource("it failed", caused) == "it failed: the disk is full"
    assert with_resource("it failed", ValueError()) == "it failed"


def test_a_recorded_error_names_it_and_withholds_all_else() -> None:
    assert describe(OSError(errno.ENOSPC, "jane@example.com")).message == "the disk is full"
    assert describe(OSError(errno.EACCES, "jane@example.com")).message == WITHHELD


@contextmanager
def no_file_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_sqlite_file_that_cannot_be_opened_for_lack_of_file_descriptors(tmp_path: Path) -> None:
    with no_file_descriptors():
        with pytest.raises(sqlite3.OperationalError) as failed:
            sqlite3.connect(tmp_path / "shop.db")
        resource_name = exhausted_resource(failed.value)

    assert resource_name == "too many open files"


PROBE = """
import resource, sys
from shared.errors import DependencyUnavailable
from shared.storage.database import Database

databases = [Database(f"postgresql://a:b@{host}:1/x") for host in ("127.0.0.1", "localhost")]
for database in databases:  # loads all modules
    try:
        database.probe()
    except DependencyUnavailable:
        pass
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
for database in databases:
    try:
        database.probe()
    except DependencyUnavailable as error:
        print(error)
"""


def test_a_server_that_cannot_be_reached_for_lack_of_file_descriptors() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, check=False
    )

    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == (
        "the database 127.0.0.1/x cannot be used: too many open files"
    )
    assert "too many open files" in done.stdout.splitlines()[1]
