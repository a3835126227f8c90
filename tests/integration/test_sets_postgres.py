"""Many rows in one statement on PostgreSQL, where they travel as JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    Text,
    func,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError, OperationalError

from shared.storage import bulk
from shared.storage.columns import MoneyAmount, UtcTime
from shared.storage.database import Database
from shared.storage.locked_rows import LockedRows
from shared.storage.unit_of_work import Store

metadata = MetaData()
jars = Table(
    "jars",
    metadata,
    Column("label", Text, primary_key=True),
    Column("coins", Integer, nullable=False, server_default="0"),
    Column("worth", MoneyAmount, nullable=True),
    Column("opened_at", UtcTime, nullable=True),
    Column("inside", JSON, nullable=False, server_default="{}"),
)
OPENED = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
FULL = {"label": "a", "coins": 3, "worth": Decimal("1.50"), "opened_at": OPENED}
EMPTY = {"label": 'b"{},\\\n€', "coins": 0, "worth": None, "opened_at": None}
READ_WHOLE = "SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'jars'"
"""Rows that this transaction has read by reading all."""


@dataclass
class Jar:
    label: str
    coins: int
    worth: Decimal | None
    opened_at: datetime | None
    inside: dict[str, Any]


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    metadata.create_all(database.engine)
    yield database
    database.close()


def kept(database: Database) -> list[dict[str, Any]]:
    with database.read() as connection:
        found = connection.execute(select(jars).order_by(jars.c.label)).mappings()
        return [dict(each) for each in found]


def test_every_kind_of_column_arrives_as_it_was(database: Database) -> None:
    inside = {"coin": ["penny", None], "none": {}}

    with database.begin() as connection:
        bulk.insert_many(connection, jars, [FULL | {"inside": {}}, EMPTY | {"inside": inside}])
        bulk.update_many(connection, jars, [{"label": "a", "inside": inside, "worth": None}])

    assert kept(database) == [FULL | {"inside": inside, "worth": None}, EMPTY | {"inside": inside}]


def test_a_time_that_is_not_aware_is_refused_among_many_too(database: Database) -> None:
    naive = [FULL, EMPTY | {"opened_at": datetime(2026, 11, 24, 12, 30)}]  # noqa: DTZ001 - on purpose

    with pytest.raises(ValueError, match="aware"), database.begin() as connection:
        bulk.insert_many(connection, jars, naive)

    assert kept(database) == []


def test_what_is_there_already_is_left_out(database: Database) -> None:
    with database.begin() as connection:
        bulk.insert_many(connection, jars, [FULL])
        bulk.insert_many(connection, jars, [EMPTY, FULL | {"coins": 9}], how=bulk.skip_existing)

    assert [each["coins"] for each in kept(database)] == [3, 0]


def test_a_statement_is_the_same_however_many_rows(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[str] = []
    execute = psycopg.Cursor.execute

    def noting(self: Any, text: Any, *rest: Any, **more: Any) -> Any:
        texts.append(text)
        return execute(self, text, *rest, **more)

    monkeypatch.setattr(psycopg.Cursor, "execute", noting)
    for labels in (["a", "b"], ["a", "b", "c"]):
        with database.begin() as connection:
            rows = LockedRows(Store(connection, database), jars, Jar)
            rows.lock(labels)
            rows.lock_or_make(labels)
            for each in rows.values():
                each.coins += 1
            rows.write()

    assert len(texts) == 6
    assert texts[:3] == texts[3:]
    assert [each["coins"] for each in kept(database)] == [2, 2, 1]


def test_no_table_is_read_whole_to_write_a_few_of_its_rows(database: Database) -> None:
    """Once planned for an empty table, a kept statement would, however large it has become."""
    for number in range(0, 300, 20):  # PostgreSQL plans the first ones anew each time
        labels = [str(each) for each in range(number, number + 20)]
        with database.begin() as connection:
            rows = LockedRows(Store(connection, database), jars, Jar)
            rows.lock_or_make(labels)
            rows.lock(labels)
            for each in rows.values():
                each.coins += 1
            rows.write()
            read_whole = connection.execute(text(READ_WHOLE)).scalar_one()

        assert read_whole == 0
    assert sum(each["coins"] for each in kept(database)) == 300


def test_who_only_looks_may_read_a_table_whole(database: Database) -> None:
    with database.begin() as connection:
        bulk.insert_many(connection, jars, [FULL, EMPTY])
    with database.read() as looking:
        looking.execute(select(func.sum(jars.c.coins))).one()

        assert looking.execute(text(READ_WHOLE)).scalar_one() == 2


def test_an_error_is_sqlalchemy_s_and_holds_no_value(database: Database) -> None:
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
        mine = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        address = postgres_url.replace("postgresql+psycopg://", "postgresql://")
        with psycopg.connect(address, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 10000)", [mine])
        bulk.insert_many(connection, jars, [FULL])

    with pytest.raises(OperationalError) as failed, database.begin() as connection:
        lose(connection)

    assert failed.value.connection_invalidated
    with database.begin() as connection:
        bulk.insert_many(connection, jars, [FULL])
    assert len(kept(database)) == 1
