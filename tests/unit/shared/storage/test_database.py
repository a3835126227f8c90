from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import Connection, select, text, update
from sqlalchemy.exc import OperationalError

from shared.errors import CommitOutcomeUnknown, DependencyUnavailable, InvalidInput, OperationFailed
from shared.storage.database import PROBE_BYTES, Database, is_environmental
from shared.storage.tables import probe
from tests.support.counting import counts

WRITERS = 8
ROUNDS = 25

READ_THEN_WRITE = select(counts.c.times).where(counts.c.name == "a")


def times(connection: Connection) -> int:
    return int(connection.execute(READ_THEN_WRITE).scalar_one())


def set_times(connection: Connection, number: int) -> None:
    connection.execute(update(counts).values(times=number))


@pytest.fixture
def counted(database: Database) -> Database:
    """A database in which `a` has been counted 0 times."""
    with database.begin() as connection:
        connection.execute(counts.insert(), [{"name": "a", "times": 0}])
    return database


def test_many_threads_can_write_without_finding_the_database_locked(
    counted: Database,
) -> None:
    barrier = Barrier(WRITERS, timeout=60)

    def add() -> None:
        barrier.wait()
        for _ in range(ROUNDS):
            with counted.begin() as connection:
                set_times(connection, times(connection) + 1)

    with ThreadPoolExecutor(WRITERS) as pool:
        for future in [pool.submit(add) for _ in range(WRITERS)]:
            future.result()

    with counted.read() as connection:
        assert times(connection) == WRITERS * ROUNDS


def test_a_reader_neither_waits_for_a_writer_nor_sees_uncommitted_changes(
    counted: Database,
) -> None:
    with counted.begin() as writing:
        set_times(writing, 5)
        with counted.read() as reading:
            assert times(reading) == 0


def test_a_reader_sees_one_snapshot_whatever_is_committed_meanwhile(counted: Database) -> None:
    with counted.read() as reading:
        before = times(reading)
        with counted.begin() as writing:
            set_times(writing, 5)

        assert times(reading) == before == 0


def test_a_block_that_raises_is_rolled_back(counted: Database) -> None:
    with suppress(ZeroDivisionError), counted.begin() as connection:
        set_times(connection, 5)
        raise ZeroDivisionError

    with counted.begin() as connection:
        assert times(connection) == 0


def test_an_interrupted_block_is_rolled_back(counted: Database) -> None:
    with suppress(KeyboardInterrupt), counted.begin() as connection:
        set_times(connection, 5)
        raise KeyboardInterrupt

    with counted.begin() as connection:
        assert times(connection) == 0


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("postgresql://anna:hunter2@host:port/shop", id="a port that is no number"),
        pytest.param("postgresql://anna:hunter2@host", id="no database"),
        pytest.param("postgresql://anna:hunter2@host/", id="an empty database"),
        pytest.param("mysql://anna:hunter2@host/shop", id="another kind"),
        pytest.param("postgresql+asyncpg://anna:hunter2@host/shop", id="another driver"),
        pytest.param("hunter2", id="no url"),
        pytest.param("", id="nothing"),
        pytest.param("sqlite://", id="a SQLite in memory"),
        pytest.param("sqlite:///:memory:", id="a SQLite in memory, by name"),
    ],
)
def test_a_wrong_url_is_rejected_in_a_sentence_without_its_password(url: str) -> None:
    with pytest.raises(InvalidInput) as failed:
        Database(url)

    sentence = str(failed.value)
    assert sentence.startswith("SHOP_DATABASE_URL ")
    assert "\n" not in sentence
    assert "hunter2" not in sentence
    assert "port/" not in sentence


def test_a_databases_name_holds_no_password() -> None:
    database = Database("postgresql://anna:hunter2@db.example:5433/shop")

    assert database.place == "db.example/shop"


def test_the_probe_names_the_database_that_is_away(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/nowhere/shop.db")

    with pytest.raises(
        DependencyUnavailable, match=r"nowhere/shop\.db cannot be used: unable to open"
    ):
        database.probe()
    with pytest.raises(
        DependencyUnavailable, match=r"nowhere/shop\.db cannot be used: unable to open"
    ):
        database.ping()


def test_the_probe_writes_and_a_ping_does_not(counted: Database) -> None:
    def written() -> list[bytes]:
        with counted.read() as connection:
            return [row.filler for row in connection.execute(select(probe))]

    counted.ping()
    assert written() == []

    counted.probe()
    [first] = written()
    counted.probe()
    [second] = written()
    assert len(first) == len(second) == PROBE_BYTES
    assert first != second


def test_the_probe_names_the_full_disk_that_a_ping_does_not_notice(counted: Database) -> None:
    with counted.begin() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))

    with pytest.raises(DependencyUnavailable, match=r"\.db cannot be used: the disk is full$"):
        counted.probe()

    counted.ping()


def test_an_error_holds_no_value(counted: Database) -> None:
    with pytest.raises(OperationalError) as failed, counted.begin() as connection:
        connection.execute(text("INSERT INTO missing VALUES (:to)"), {"to": "123 Canary Street"})

    assert "Canary" not in str(failed.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(OperationalError("", {}, Exception()), True, id="the driver's error"),
        pytest.param(DependencyUnavailable(), True, id="a failed probe"),
        pytest.param(CommitOutcomeUnknown(), True, id="a lost commit"),
        pytest.param(OperationFailed(), False, id="a failed operation"),
        pytest.param(ZeroDivisionError(), False, id="a programming error"),
    ],
)
def test_only_errors_that_may_mean_a_lost_database_are_environmental(
    error: Exception, *, expected: bool
) -> None:
    assert is_environmental(error) is expected


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    database = Database(f"sqlite:///{path}")
    with database.begin() as connection:
        connection.execute(text("CREATE TABLE probe (filler BLOB)"))
    database.close()
    content = bytearray(path.read_bytes())
    content[100:200] = b"\xff" * 100
    path.write_bytes(content)

    with pytest.raises(DependencyUnavailable) as failed:
        database.probe()

    assert str(failed.value) == (
        f"the database {path} cannot be used: database disk image is malformed; stop all "
        "processes, and restore a backup of it"
    )
    database.close()
