from contextlib import suppress

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError, InvalidRequestError

from shared.storage import outbox
from shared.storage.database import Database
from shared.storage.sqlite import BUSY_POLL_INTERVAL, POLL_INTERVAL, DataVersionPoller
from tests.support.counting import ThingHappened, counts


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.scalars(select(counts.c.name)))


def add(connection: Connection, name: str) -> None:
    connection.execute(counts.insert(), [{"name": name, "times": 1}])


def driver_connection(database: Database) -> object:
    with database.begin() as connection:
        return connection.connection.driver_connection


def test_all_transactions_use_one_connection(database: Database) -> None:
    with database.read():  # takes the connection that the pool would give first
        first = driver_connection(database)

    assert driver_connection(database) is first


def test_a_transaction_works_after_one_that_failed(database: Database) -> None:
    with suppress(ZeroDivisionError), database.begin() as connection:
        add(connection, "a")
        raise ZeroDivisionError

    with database.begin() as connection:
        add(connection, "b")

    assert names(database) == ["b"]


def test_a_transaction_works_after_a_commit_that_failed(database: Database) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE child (name REFERENCES counts DEFERRABLE INITIALLY DEFERRED)"
        )
    with pytest.raises(IntegrityError, match="FOREIGN KEY"), database.begin() as connection:
        connection.exec_driver_sql("INSERT INTO child VALUES ('nobody')")

    with database.begin() as connection:
        add(connection, "b")

    assert names(database) == ["b"]


def test_a_transaction_within_another_is_rejected_at_once(database: Database) -> None:
    with suppress(InvalidRequestError), database.begin() as outer:
        add(outer, "a")
        with database.begin():
            pytest.fail("it began")

    assert names(database) == []


def test_a_closed_database_can_be_used_again(database: Database) -> None:
    before = driver_connection(database)

    database.close()

    assert driver_connection(database) is not before


def test_it_polls_less_often_while_each_poll_finds_commits(database: Database) -> None:
    poller = DataVersionPoller(database.path, outbox.PENDING)
    poller.poll()
    assert poller.poll_interval == POLL_INTERVAL

    for interval in (POLL_INTERVAL, BUSY_POLL_INTERVAL, BUSY_POLL_INTERVAL):
        with database.begin() as connection:
            outbox.write(connection, [outbox.Outgoing(ThingHappened(name="a"), b"{}")])
        assert poller.poll()
        assert poller.poll_interval == interval

    assert not poller.poll()
    assert poller.poll_interval == POLL_INTERVAL
    poller.close()
