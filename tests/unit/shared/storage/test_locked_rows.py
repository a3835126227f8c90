import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import event

from shared.storage.database import Database
from shared.storage.locked_rows import LockedRows
from tests.support.jars import Jar, coins, jars, metadata


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'jars.db'}")
    metadata.create_all(database.engine)
    with database.begin() as connection:
        connection.execute(jars.insert(), [{"label": "b", "coins": 5}, {"label": "c", "coins": 7}])
    yield database
    database.close()


def test_only_existing_rows_are_locked_and_read(database: Database) -> None:
    with database.begin() as connection:
        rows = LockedRows(connection, jars, Jar)
        rows.lock(["c", "a", "c"])

    assert {key: row.coins for key, row in rows.items()} == {"c": 7}
    assert coins(database) == {"b": 5, "c": 7}


def test_missing_rows_are_inserted_with_their_defaults(database: Database) -> None:
    with database.begin() as connection:
        rows = LockedRows(connection, jars, Jar)
        rows.lock_or_insert(["c", "a", "c"])

    assert {key: row.coins for key, row in rows.items()} == {"a": 0, "c": 7}
    assert rows["a"] == Jar("a", contents={})
    assert coins(database) == {"a": 0, "b": 5, "c": 7}


def test_changed_rows_are_written_and_no_others(database: Database) -> None:
    with database.begin() as connection:
        rows = LockedRows(connection, jars, Jar)
        rows.lock_or_insert(["a", "b", "c"])
        statements: list[str] = []
        event.listen(connection, "before_cursor_execute", lambda *args: statements.append(args[2]))
        rows["a"].coins += 1
        rows["b"].coins += 2
        rows.write()

    assert coins(database) == {"a": 1, "b": 7, "c": 7}
    assert len(statements) == 1


def test_no_keys_need_no_statement(database: Database) -> None:
    statements: list[str] = []
    with database.begin() as connection:
        driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        driver.set_trace_callback(statements.append)
        rows = LockedRows(connection, jars, Jar)
        rows.lock([])
        rows.lock_or_insert([])
        rows.write()
        driver.set_trace_callback(None)

    assert (dict(rows), statements) == ({}, [])
