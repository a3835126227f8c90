from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import (
    JSON,
    Column,
    MetaData,
    Table,
    Text,
    Uuid,
    bindparam,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from shared.storage import bulk
from shared.storage.columns import MoneyAmount, UtcTime
from shared.storage.compiled import execute
from shared.storage.database import Database
from shared.storage.locked_rows import LockedRows
from shared.storage.unit_of_work import Store

metadata = MetaData()
jars = Table(
    "jars",
    metadata,
    Column("label", Text, primary_key=True),
    Column("maker", Uuid, nullable=True),
    Column("worth", MoneyAmount, nullable=True),
    Column("opened_at", UtcTime, nullable=True),
    Column("inside", JSON, nullable=False),
)
FULL: dict[str, Any] = {
    "label": "a",
    "maker": UUID("019ab000-0000-7000-8000-000000000001"),
    "worth": Decimal("1.50"),
    "opened_at": datetime(2026, 11, 24, 12, 30, tzinfo=UTC),
    "inside": {"coins": [1, None]},
}
EMPTY: dict[str, Any] = {
    "label": "b",
    "maker": None,
    "worth": None,
    "opened_at": None,
    "inside": {},
}


@dataclass
class Jar:
    label: str
    maker: UUID | None
    worth: Decimal | None
    opened_at: datetime | None
    inside: dict[str, Any]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.docker)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'jars.db'}")
    else:
        database = Database(request.getfixturevalue("postgres_url"))
    metadata.create_all(database.engine)
    yield database
    database.close()


def test_what_is_written_and_read_is_what_sqlalchemy_reads(database: Database) -> None:
    with database.begin() as connection:
        bulk.insert_many(connection, jars, [FULL])
        bulk.insert_many(connection, jars, [EMPTY])
        found = LockedRows(Store(connection, database), jars, Jar)
        found.lock(["b", "a", "c"])

    with database.read() as connection:
        kept = [*map(dict, connection.execute(select(jars).order_by(jars.c.label)).mappings())]
    assert [vars(each) for each in found.values()] == kept == [FULL, EMPTY]
    assert found["a"].opened_at is not None
    assert found["a"].opened_at.tzinfo is UTC


def test_constants_of_a_statement_stay_as_they_were_written(database: Database) -> None:
    dear = jars.c.worth > Decimal("1.25")
    wanted = select(jars.c.label).where(jars.c.label == bindparam("of"), dear)
    with database.begin() as connection:
        bulk.insert_many(connection, jars, [FULL, EMPTY])

        found = [execute(connection, wanted, {"of": of}).scalars().all() for of in ("a", "b")]

    assert found == [["a"], []]


def test_only_a_statement_that_returns_rows_has_some(database: Database) -> None:
    opened = update(jars).values(opened_at=bindparam("at")).where(jars.c.opened_at.is_(None))
    with database.begin() as connection:
        bulk.insert_many(connection, jars, [EMPTY])

        silent = execute(connection, opened, {"at": FULL["opened_at"]}).all()
        told = execute(connection, opened.returning(jars.c.label), {"at": FULL["opened_at"]}).all()

    assert (silent, told) == ([], [])
    with database.read() as connection:
        assert execute(connection, select(jars.c.opened_at)).scalar_one() == FULL["opened_at"]


def test_a_look_takes_no_lock_and_sees_one_moment(database: Database) -> None:
    counted = select(func.count().label("number")).select_from(jars)
    with database.read() as looking:
        before = execute(looking, counted).scalar_one()
        with database.begin() as connection:
            bulk.insert_many(connection, jars, [FULL])

        assert (before, execute(looking, counted).scalar_one()) == (0, 0)
    with database.read() as looking:
        assert execute(looking, counted).scalar_one() == 1


def test_a_statement_whose_text_depends_on_its_values_is_refused(database: Database) -> None:
    wanted = select(jars.c.label).where(jars.c.label.in_(["a"]))

    with pytest.raises(TypeError, match="text"), database.begin() as connection:
        execute(connection, wanted)


def test_an_error_is_sqlalchemy_s_and_holds_no_value(database: Database) -> None:
    writing = insert(jars)
    with database.begin() as connection:
        execute(connection, writing, FULL)

    with pytest.raises(IntegrityError) as failed, database.begin() as connection:
        execute(connection, writing, FULL | {"worth": Decimal(777)})

    assert "777" not in str(failed.value)
