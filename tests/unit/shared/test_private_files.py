import fcntl
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from shared.messaging.embedded import EmbeddedBroker
from shared.messaging.topology import Queue, Topology
from shared.private_files import create_file, create_folder
from shared.storage.database import Database


@pytest.fixture(autouse=True)
def permissive_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_and_its_parents_are_for_their_owner_only(tmp_path: Path) -> None:
    create_folder(tmp_path / "a" / "b")
    create_folder(tmp_path / "a" / "b")

    assert [mode(tmp_path / "a"), mode(tmp_path / "a" / "b")] == [0o700, 0o700]


def test_what_exists_keeps_its_permissions_and_content(tmp_path: Path) -> None:
    folder, file = tmp_path / "shared", tmp_path / "shared" / "file"
    folder.mkdir(mode=0o750)
    file.write_text("kept")
    file.chmod(0o640)

    create_folder(folder)
    create_file(file)

    assert (mode(folder), mode(file), file.read_text()) == (0o750, 0o640, "kept")


def test_a_file_in_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(FileExistsError):
        create_folder(tmp_path / "file")


def in_another_process(program: str, path: Path) -> str:
    """Run a program with a path as its argument; return its standard output."""
    command = [sys.executable, "-c", program, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


TRY_TO_LOCK = """
import fcntl, sys
try:
    fcntl.lockf(open(sys.argv[1], "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("is locked")
"""


def test_the_locks_on_a_file_that_exists_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)

        create_file(path)

        assert in_another_process(TRY_TO_LOCK, path) == "is locked"


WRITE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("INSERT INTO things VALUES (1)")
connection.close()
"""


def test_a_database_stays_usable_when_another_process_closes_it(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE things (number INTEGER)")

        create_file(path)
        in_another_process(WRITE, path)
        in_another_process(WRITE, path)

        assert connection.execute("SELECT count(*) FROM things").fetchone() == (2,)
        assert path.with_name("a.db-wal").exists()


def test_a_file_behind_a_link_is_created_for_its_owner_only(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")

    create_file(link)
    create_file(link)

    assert mode(tmp_path / "elsewhere") == 0o600


READ = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('{}'); c.close()"
"""Opens a file and closes it, as a command does; the last one to close it deletes its log."""


def test_a_second_connection_keeps_the_locks_of_the_first_on_a_database(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    with closing(Database(f"sqlite:///{path}")) as database:
        with database.begin() as connection:
            connection.execute(text("CREATE TABLE orders (id TEXT)"))
        with database.read(), database.read() as second:
            assert second.execute(text("SELECT * FROM orders")).all() == []

        in_another_process(READ.format("SELECT * FROM orders"), path)

        assert Path(f"{path}-wal").exists()


def test_a_second_connection_keeps_the_locks_of_the_first_on_the_brokers_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "broker.db"
    with closing(EmbeddedBroker(path)) as broker:
        queue = Queue(name="email", topics=frozenset({"order.placed"}))
        broker.set_up(Topology(queues=(queue,)))
        consumer = broker.consumer("email", prefetch=1)
        assert consumer.take(1, wait=0) == []
        assert broker.depth("email").consumers == 1  # by a connection of its own

        in_another_process(READ.format("SELECT * FROM queues"), path)

        assert Path(f"{path}-wal").exists()
