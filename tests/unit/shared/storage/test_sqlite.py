from contextlib import suppress

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError, InvalidRequestError

from shared.storage import outbox
from shared.storage.database import Database
from shared.storage.sqlite import GLANCE_EVERY, STREAM_EVERY, DataVersionPoller
from tests.support.counting import ThingHappened, counts


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.scalars(select(counts.c.name)))


def add(connection: Connection, name: str) -> None:
    connection.execute(counts.insert(), [{"name": name, "times": 1}])


def driver_of(database: Database) -> object:
    with database.begin() as connection:
        return connection.connection.driver_connection


def test_transactions_follow_one_another_on_one_connection(database: Database) -> None:
    with database.read():  # holds the one that a pool would give first
        first = driver_of(database)

    assert driver_of(database) is first


def test_after_a_failed_transaction_the_next_one_is_sound(database: Database) -> None:
    with suppress(ZeroDivisionError), database.begin() as connection:
        add(connection, "a")
        raise ZeroDivisionError

    with database.begin() as connection:
        add(connection, "b")

    assert names(database) == ["b"]


def test_after_a_commit_that_failed_the_next_one_is_sound(database: Database) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE child (name REFERENCES counts DEFERRABLE INITIALLY DEFERRED)"
        )
    with pytest.raises(IntegrityError, match="FOREIGN KEY"), database.begin() as connection:
        connection.exec_driver_sql("INSERT INTO child VALUES ('nobody')")

    with database.begin() as connection:
        add(connection, "b")

    assert names(database) == ["b"]


def test_a_transaction_within_another_is_refused_and_waits_for_nobody(database: Database) -> None:
    with suppress(InvalidRequestError), database.begin() as outer:
        add(outer, "a")
        with database.begin():
            pytest.fail("it began")

    assert names(database) == []


def test_a_closed_database_can_be_used_again(database: Database) -> None:
    before = driver_of(database)

    database.close()

    assert driver_of(database) is not before


def test_where_much_is_committed_it_looks_less_often(database: Database) -> None:
    glances = DataVersionPoller(database.path, outbox.SOMETHING_WAITS)
    glances.poll()
    assert glances.every == GLANCE_EVERY

    for every in (GLANCE_EVERY, STREAM_EVERY, STREAM_EVERY):
        with database.begin() as connection:
            outbox.write(connection, [outbox.Outgoing(ThingHappened(name="a"), b"{}")])
        assert glances.poll()
        assert glances.every == every

    assert not glances.poll()
    assert glances.every == GLANCE_EVERY
    glances.close()
