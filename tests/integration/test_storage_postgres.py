"""Storage on PostgreSQL: row locks, notifications, lost connections and error messages."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread

import psycopg
import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from shared.errors import CommitOutcomeUnknown, DependencyUnavailable, OperationFailed
from shared.messaging.codec import encode
from shared.storage import failures, inbox, outbox
from shared.storage.database import Database
from shared.storage.migrating import is_current, migrate
from shared.storage.tables import DatabaseClock
from shared.storage.tables import inbox as inbox_table
from shared.storage.tables import outbox as outbox_table
from shared.storage.wakeup import Wakeup
from tests.support.counting import CountStore, ThingHappened, counting, counts
from tests.support.deliveries import entry_of

LONG = 20.0
"""Seconds; a thread that waited this long was not woken."""

CANARY = "123 Canary Street, canary@example.com"

END_OTHER_BACKENDS = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

END_THE_BACKEND_IN_ITS_COMMIT = """
    CREATE FUNCTION end_me() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON counts
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION end_me();
"""

REJECT_AT_COMMIT = (
    "ALTER TABLE counts ADD CONSTRAINT once UNIQUE (times) DEFERRABLE INITIALLY DEFERRED"
)


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    migrate(database, counting().migrations)
    yield database
    database.close()


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    wakeup = Wakeup()
    yield wakeup
    wakeup.close()


def end_backends(url: str) -> int:
    """End all other connections to a database, as a restart of the server does."""
    address = url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(address, autocommit=True) as connection:
        return len(connection.execute(END_OTHER_BACKENDS).fetchall())


def write(connection: Connection, *names: str) -> None:
    events = [ThingHappened(name=name) for name in names]
    outbox.write(connection, [outbox.Outgoing(each, encode(each, source="c")) for each in events])


def names(claimed: outbox.Claim) -> list[str]:
    return [ThingHappened.model_validate(_data(row.body)).name for row in claimed.rows]


def _data(body: str) -> object:
    return json.loads(body)["data"]


def send(database: Database, most: int = 10) -> list[str]:
    with outbox.claim(database, most) as claimed:
        claimed.sent += [row.number for row in claimed.rows]
        return names(claimed)


def count(connection: Connection, database: Database, name: str) -> None:
    CountStore(connection, database).count(name)


def counted(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return CountStore(connection, database).counted()


def is_woken(wakeup: Wakeup, by: Callable[[], object]) -> bool:
    """Whether a wait ended before its timeout, while another thread called `by`."""
    began = time.monotonic()
    thread = Thread(target=by)
    thread.start()
    wakeup.wait(LONG)
    thread.join()
    return time.monotonic() - began < LONG


def test_options_in_the_url_are_used(postgres_url: str) -> None:
    url = f"{postgres_url}?options=-c%20work_mem%3D9MB"
    with closing(Database(url)) as database, database.begin() as connection:
        assert connection.execute(text("SHOW work_mem")).scalar_one() == "9MB"


def test_two_relays_claim_different_rows(database: Database) -> None:
    with database.begin() as connection:
        write(connection, "a", "b", "c")

    with outbox.claim(database, 2) as first, outbox.claim(database, 2) as second:
        assert (names(first), names(second)) == (["a", "b"], ["c"])
        first.sent += [row.number for row in first.rows]

    assert send(database) == ["c"]


def test_an_event_that_commits_after_a_later_number_is_not_lost(database: Database) -> None:
    with database.begin() as slow:
        write(slow, "early number")
        with database.begin() as quick:
            write(quick, "late number")
        assert send(database) == ["late number"]

    assert send(database) == ["early number"]


def test_a_relay_that_dies_releases_its_claim(database: Database, postgres_url: str) -> None:
    with database.begin() as connection:
        write(connection, "a")

    with suppress(DBAPIError), outbox.claim(database, 10) as claimed:
        claimed.sent.append(claimed.rows[0].number)
        end_backends(postgres_url)

    assert send(database) == ["a"]


def test_a_notification_ends_a_wait_in_another_process(database: Database, wakeup: Wakeup) -> None:
    wakeup.listen(database)

    def commit() -> None:
        with database.begin() as connection:
            outbox.notify(connection, database)

    assert is_woken(wakeup, commit)


@pytest.mark.parametrize("names", [["a"], ["a", "b"]], ids=["one", "two"])
def test_writing_events_can_notify_the_relay(
    database: Database, wakeup: Wakeup, names: list[str]
) -> None:
    wakeup.listen(database)
    events = [ThingHappened(name=name) for name in names]

    def commit() -> None:
        with database.begin() as connection:
            outbox.write(
                connection, [outbox.Outgoing(each, b"{}") for each in events], notifies_relay=True
            )

    assert is_woken(wakeup, commit)
    with database.read() as connection:
        assert outbox.backlog(connection).depth == len(names)


def test_a_rolled_back_notification_ends_no_wait(database: Database, wakeup: Wakeup) -> None:
    wakeup.listen(database)
    with suppress(ZeroDivisionError), database.begin() as connection:
        outbox.notify(connection, database)
        raise ZeroDivisionError

    wakeup.wait(0.1)
    with database.begin() as connection:
        outbox.notify(connection, database)
    began = time.monotonic()
    wakeup.wait(LONG)

    assert time.monotonic() - began < LONG, "the second notification ends the wait"


def test_a_lost_listener_ends_the_wait_and_is_replaced(
    database: Database, wakeup: Wakeup, postgres_url: str
) -> None:
    wakeup.listen(database)

    assert is_woken(wakeup, lambda: end_backends(postgres_url))
    wakeup.listen(database)

    def commit() -> None:
        with database.begin() as connection:
            outbox.notify(connection, database)

    assert is_woken(wakeup, commit)


def test_a_listener_that_cannot_connect_is_replaced(database: Database, wakeup: Wakeup) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(DependencyUnavailable, match="sends no notifications"):
        wakeup.listen(away)

    wakeup.listen(database)

    def commit() -> None:
        with database.begin() as connection:
            outbox.notify(connection, database)

    assert is_woken(wakeup, commit)


def test_four_processes_can_migrate_concurrently(postgres_url: str) -> None:
    barrier = Barrier(4, timeout=30)

    def start() -> bool:
        database = Database(postgres_url)
        barrier.wait()
        migrated = migrate(database, counting().migrations)
        assert is_current(database, counting().migrations)
        database.close()
        return migrated

    with ThreadPoolExecutor(4) as pool:
        results = [each.result() for each in [pool.submit(start) for _ in range(4)]]

    assert any(results)


def test_a_connection_lost_in_the_commit_leaves_the_outcome_unknown(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text(END_THE_BACKEND_IN_ITS_COMMIT))

    with pytest.raises(CommitOutcomeUnknown), database.begin() as connection:
        count(connection, database, "a")

    assert counted(database) == {}


def test_a_connection_lost_before_the_commit_is_a_known_outcome(
    database: Database, postgres_url: str
) -> None:
    def lose(connection: Connection) -> None:
        count(connection, database, "a")
        end_backends(postgres_url)
        count(connection, database, "b")

    with pytest.raises(OperationalError), database.begin() as connection:
        lose(connection)

    assert counted(database) == {}


def test_a_rejected_commit_is_a_known_outcome(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text(REJECT_AT_COMMIT))

    with pytest.raises(IntegrityError, match="once"), database.begin() as connection:
        connection.execute(counts.insert(), [{"name": "a", "times": 1}, {"name": "b", "times": 1}])

    assert counted(database) == {}


def test_lost_connections_are_replaced_at_the_next_use(
    database: Database, postgres_url: str
) -> None:
    with database.begin() as connection:
        count(connection, database, "a")

    assert end_backends(postgres_url) > 0

    database.probe()
    with database.begin() as connection:
        count(connection, database, "a")
    assert counted(database) == {"a": 2}


def test_the_probe_names_the_server_that_is_away() -> None:
    away = Database("postgresql://nobody:hunter2@127.0.0.1:1/nothing")

    with pytest.raises(DependencyUnavailable) as failed:
        away.probe()

    assert str(failed.value) == (
        "the database 127.0.0.1/nothing cannot be reached, the connection is refused; start it, or "
        "correct SHOP_DATABASE_URL"
    )


def test_a_failed_migration_does_not_show_the_password() -> None:
    away = Database("postgresql://nobody:hunter2@127.0.0.1:1/nothing")

    with pytest.raises(OperationFailed) as failed:
        migrate(away, counting().migrations)

    assert "hunter2" not in str(failed.value) + str(failed.value.__cause__)


def test_a_reader_sees_one_snapshot_and_cannot_write(database: Database) -> None:
    with database.read() as reading:
        before = CountStore(reading, database).counted()
        with database.begin() as writing:
            count(writing, database, "a")
        assert CountStore(reading, database).counted() == before == {}

    with pytest.raises(DBAPIError, match="read-only"), database.read() as reading:
        count(reading, database, "a")


def test_a_transaction_after_a_reader_can_write(database: Database) -> None:
    with database.read() as reading:
        reading.execute(select(counts))

    with database.begin() as connection:
        count(connection, database, "a")

    assert counted(database) == {"a": 1}


INVALID = [
    pytest.param("INSERT INTO counts VALUES (:canary, NULL)", id="a violated constraint"),
    pytest.param("INSERT INTO counts VALUES (:canary, 1), (:canary, 2)", id="a duplicate key"),
    pytest.param("SELECT CAST(:canary AS integer)", id="a value of a wrong type"),
    pytest.param("SELECT CAST(:canary AS json)", id="a value that cannot be parsed"),
    pytest.param("SELECT CAST(:canary AS timestamptz)", id="an invalid time"),
    pytest.param("INSERT INTO missing VALUES (:canary)", id="no such table"),
    pytest.param("SELECT missing(:canary)", id="no such function"),
]


@pytest.mark.parametrize("statement", INVALID)
def test_an_error_holds_no_value_of_its_statement(database: Database, statement: str) -> None:
    with pytest.raises(DBAPIError) as failed, database.begin() as connection:
        connection.execute(text(statement), {"canary": CANARY})

    error = failed.value
    shown = f"{error}{error!r}{error.orig}{error.orig!r}{error.args}" + "".join(
        failures.describe(error)
    )
    assert "Canary Street" not in shown
    assert "canary@" not in shown
    assert error.orig is not None
    assert getattr(error.orig, "sqlstate", "") in str(error)


def test_an_error_names_the_violated_constraint(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(counts.insert(), [{"name": "a", "times": 1}])

    with pytest.raises(IntegrityError, match=r"23505 .*counts_pkey"), database.begin() as again:
        again.execute(counts.insert(), [{"name": "a", "times": 1}])


def test_the_time_of_handling_is_that_of_the_databases_clock(database: Database) -> None:
    with database.begin() as connection:
        before = connection.execute(select(DatabaseClock())).scalar_one()
        inbox.enter(connection, [entry_of(ThingHappened(name="a"))])
        after = connection.execute(select(DatabaseClock())).scalar_one()
        stamped = connection.execute(select(inbox_table.c.handled_at)).scalar_one()

    assert before < stamped < after, "the clock advances within a transaction"
    assert stamped.tzinfo is UTC


def test_the_backlogs_age_is_by_the_databases_clock(database: Database) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    with database.begin() as connection:
        write(connection, "a", "b")
        connection.execute(outbox_table.update().values(created_at=long_ago))
        found = outbox.backlog(connection)

    assert (found.depth, found.rejected) == (2, 0)
    assert 3_600 - 60 < found.age < 3_600 + 60
