import os
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


def test_a_file_behind_a_link_is_created_for_its_owner_only(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")

    create_file(link)
    create_file(link)

    assert mode(tmp_path / "elsewhere") == 0o600


READ_AND_CLOSE = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('{}'); c.close()"


def read_in_another_process(path: Path, query: str) -> None:
    """Open a file and close it, as a command does; as the last one to close it, delete its log."""
    subprocess.run([sys.executable, "-c", READ_AND_CLOSE.format(query), path], check=True)


def test_a_second_connection_keeps_the_locks_of_the_first_on_a_database(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    with closing(Database(f"sqlite:///{path}")) as database:
        with database.begin() as connection:
            connection.execute(text("CREATE TABLE orders (id TEXT)"))
        with database.read(), database.read() as second:
            assert second.execute(text("SELECT * FROM orders")).all() == []

        read_in_another_process(path, "SELECT * FROM orders")

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

        read_in_another_process(path, "SELECT * FROM queues")

        assert Path(f"{path}-wal").exists()
