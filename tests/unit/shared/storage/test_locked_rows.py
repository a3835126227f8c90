from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, event, select

from shared.storage.database import Database
from shared.storage.locked_rows import LockedRows
from shared.storage.unit_of_work import Store

metadata = MetaData()
jars = Table(
    "jars",
    metadata,
    Column("label", Text, primary_key=True),
    Column("coins", Integer, nullable=False, server_default="0"),
)


@dataclass
class Jar:
    label: str
    coins: int


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'jars.db'}")
    metadata.create_all(database.engine)
    with database.begin() as connection:
        connection.execute(jars.insert(), [{"label": "b", "coins": 5}, {"label": "c", "coins": 7}])
    yield database
    database.close()


def kept(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return {row.label: row.coins for row in connection.execute(select(jars))}


def rows(connection: Connection, database: Database) -> LockedRows[Jar]:
    return LockedRows(Store(connection, database), jars, Jar)


def test_only_rows_that_are_there_are_locked_and_read(database: Database) -> None:
    with database.begin() as connection:
        found = rows(connection, database)
        found.lock(["c", "a", "c"])

    assert dict(found) == {"c": Jar("c", 7)}
    assert kept(database) == {"b": 5, "c": 7}


def test_missing_rows_are_made_with_their_defaults(database: Database) -> None:
    with database.begin() as connection:
        found = rows(connection, database)
        found.lock_or_make(["c", "a", "c"])

    assert dict(found) == {"a": Jar("a", 0), "c": Jar("c", 7)}
    assert kept(database) == {"a": 0, "b": 5, "c": 7}


def test_what_was_assigned_is_written_and_nothing_else(database: Database) -> None:
    statements: list[str] = []
    with database.begin() as connection:
        found = rows(connection, database)
        found.lock_or_make(["a", "b", "c"])
        event.listen(connection, "before_cursor_execute", lambda *seen: statements.append(seen[2]))
        found["a"].coins += 1
        found["b"].coins += 2
        found.write()

    assert kept(database) == {"a": 1, "b": 7, "c": 7}
    assert len(statements) == 1


def test_nothing_is_asked_of_the_database_for_no_keys(database: Database) -> None:
    statements: list[str] = []
    with database.begin() as connection:
        event.listen(connection, "before_cursor_execute", lambda *seen: statements.append(seen[2]))
        found = rows(connection, database)
        found.lock([])
        found.lock_or_make([])
        found.write()

    assert (dict(found), statements) == ({}, [])
