"""Many rows in one statement on PostgreSQL, which gets them as JSON."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Table, UpdateBase, text
from sqlalchemy.exc import IntegrityError, OperationalError

from shared.storage import bulk
from shared.storage.database import Database
from shared.storage.locked_rows import LockedRows
from tests.support.jars import EMPTY, FULL, Jar, all_jars, coins, jars, metadata

READ_BY_SCAN = "SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'jars'"
"""The rows that this transaction has read by sequential scans."""

GROW = "INSERT INTO jars (label) SELECT 'g' || number FROM generate_series(0, 20000) AS number"


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    metadata.create_all(database.engine)
    yield database
    database.close()


def skip_existing(_table: Table, insert: bulk.Insert) -> UpdateBase:
    return insert.on_conflict_do_nothing()


def test_a_value_of_each_column_type_is_stored_unchanged(database: Database) -> None:
    with database.begin() as connection:
        bulk.insert_many(connection, jars, [FULL, EMPTY])

    assert all_jars(database) == [FULL, EMPTY]


def test_a_changed_value_of_each_column_type_is_stored_unchanged(database: Database) -> None:
    first, second = FULL["label"], EMPTY["label"]
    with database.begin() as connection:
        bulk.insert_many(connection, jars, [FULL, EMPTY])
    for count in (2, 1):  # as JSON, and without
        with database.begin() as connection:
            rows = LockedRows(connection, jars, Jar)
            rows.lock([first, second][:count])
            for row, new in zip(rows.values(), (EMPTY, FULL), strict=False):
                vars(row).update({**new, "label": row.label, "coins": count})
            rows.write()

        assert all_jars(database)[0] == EMPTY | {"label": first, "coins": count}
    assert all_jars(database)[1] == FULL | {"label": second, "coins": 2}


def test_a_time_without_a_zone_is_rejected_among_many_too(database: Database) -> None:
    naive = [FULL, EMPTY | {"opened_at": datetime(2026, 11, 24, 12, 30)}]  # noqa: DTZ001 - on purpose

    with pytest.raises(ValueError, match="time zone"), database.begin() as connection:
        bulk.insert_many(connection, jars, naive)

    assert all_jars(database) == []


def test_existing_rows_are_skipped(database: Database) -> None:
    with database.begin() as connection:
        bulk.insert_many(connection, jars, [FULL])
        bulk.insert_many(connection, jars, [EMPTY, FULL | {"coins": 9}], add_clauses=skip_existing)

    assert coins(database) == {FULL["label"]: 3, EMPTY["label"]: 0}


def test_a_statement_is_the_same_for_any_number_of_rows(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[str] = []
    execute = psycopg.Cursor.execute

    def recording(self: Any, text: Any, *rest: Any, **more: Any) -> Any:
        texts.append(text)
        return execute(self, text, *rest, **more)

    monkeypatch.setattr(psycopg.Cursor, "execute", recording)
    for labels in (["a", "b"], ["a", "b", "c"]):
        with database.begin() as connection:
            rows = LockedRows(connection, jars, Jar)
            rows.lock(labels)
            rows.lock_or_insert(labels)
            for row in rows.values():
                row.coins += 1
            rows.write()
    statements = [each for each in texts if "jars" in each]

    assert len(statements) == 6
    assert statements[:3] == statements[3:]
    assert coins(database) == {"a": 2, "b": 2, "c": 1}


def test_a_grown_table_is_not_scanned_to_write_a_few_of_its_rows(database: Database) -> None:
    """PostgreSQL may keep the plans that it made for the small table."""
    for number in range(0, 300, 20):  # it makes a new plan for the first five
        with database.begin() as connection:
            add_a_coin(connection, [str(each) for each in range(number, number + 20)])
    with database.begin() as connection:
        connection.execute(text(GROW))

    for labels in (["g7"], ["g7", "g8"], [f"g{number}" for number in range(20)]):
        with database.begin() as connection:
            before = connection.execute(text(READ_BY_SCAN)).scalar_one()
            add_a_coin(connection, labels)
            after = connection.execute(text(READ_BY_SCAN)).scalar_one()

        assert after == before
    assert sum(coins(database).values()) == 300 + 1 + 2 + 20


def add_a_coin(connection: Connection, labels: list[str]) -> None:
    rows = LockedRows(connection, jars, Jar)
    rows.lock_or_insert(labels)
    rows.lock(labels)
    for row in rows.values():
        row.coins += 1
    rows.write()


def test_an_error_is_sqlalchemys_and_holds_no_value(database: Database) -> None:
    with database.begin() as connection:
        bulk.insert_many(connection, jars, [FULL])

    with pytest.raises(IntegrityError) as failed, database.begin() as connection:
        bulk.insert_many(connection, jars, [FULL | {"coins": 777}])

    assert "jars_pkey" in str(failed.value)
    assert "777" not in str(failed.value)
    assert "(a)" not in "".join(map(str, (failed.value, failed.value.orig, failed.value.__cause__)))


def test_a_connection_lost_in_a_statement_is_replaced(
    database: Database, postgres_url: str
) -> None:
    def lose(connection: Connection) -> None:
        backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        address = postgres_url.replace("postgresql+psycopg://", "postgresql://")
        with psycopg.connect(address, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 10000)", [backend])
        bulk.insert_many(connection, jars, [FULL])

    with pytest.raises(OperationalError) as failed, database.begin() as connection:
        lose(connection)

    assert failed.value.connection_invalidated
    with database.begin() as connection:
        bulk.insert_many(connection, jars, [FULL])
    assert len(all_jars(database)) == 1
