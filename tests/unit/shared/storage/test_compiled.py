from collections.abc import Iterator
from datetime import UTC
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from shared.storage import bulk
from shared.storage.compiled import execute
from shared.storage.database import Database
from shared.storage.locked_rows import LockedRows
from tests.support.jars import EMPTY, FULL, Jar, all_jars, jars, metadata


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.docker)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'jars.db'}")
    else:
        database = Database(request.getfixturevalue("postgres_url"))
    metadata.create_all(database.engine)
    yield database
    database.close()


def test_values_are_written_and_read_as_sqlalchemy_does(database: Database) -> None:
    with database.begin() as connection:
        bulk.insert_many(connection, jars, [FULL])
        bulk.insert_many(connection, jars, [EMPTY])
        rows = LockedRows(connection, jars, Jar)
        rows.lock([EMPTY["label"], "a", "unknown"])

    assert [vars(row) for row in rows.values()] == all_jars(database) == [FULL, EMPTY]
    assert rows["a"].opened_at is not None
    assert rows["a"].opened_at.tzinfo is UTC


def test_constants_of_a_statement_are_kept(database: Database) -> None:
    is_valuable = jars.c.worth > Decimal("1.25")
    statement = select(jars.c.label).where(jars.c.label == bindparam("name"), is_valuable)
    with database.begin() as connection:
        bulk.insert_many(connection, jars, [FULL, EMPTY])

        labels = [
            execute(connection, statement, {"name": name}).scalars().all()
            for name in ("a", EMPTY["label"])
        ]

    assert labels == [["a"], []]


def test_only_a_statement_that_returns_rows_has_some(database: Database) -> None:
    opened = update(jars).values(opened_at=bindparam("at")).where(jars.c.opened_at.is_(None))
    with database.begin() as connection:
        bulk.insert_many(connection, jars, [EMPTY])
        at = {"at": FULL["opened_at"]}

        without_returning = execute(connection, opened, at).all()
        with_returning = execute(connection, opened.returning(jars.c.label), at).all()

    assert (without_returning, with_returning) == ([], [])
    with database.read() as connection:
        assert execute(connection, select(jars.c.opened_at)).scalar_one() == FULL["opened_at"]


def test_a_reader_takes_no_lock_and_sees_one_snapshot(database: Database) -> None:
    count = select(func.count().label("number")).select_from(jars)
    with database.read() as reader:
        before = execute(reader, count).scalar_one()
        with database.begin() as connection:
            bulk.insert_many(connection, jars, [FULL])

        assert (before, execute(reader, count).scalar_one()) == (0, 0)
    with database.read() as reader:
        assert execute(reader, count).scalar_one() == 1


def test_a_statement_whose_text_depends_on_its_values_is_rejected(database: Database) -> None:
    statement = select(jars.c.label).where(jars.c.label.in_(["a"]))

    with pytest.raises(TypeError, match="text"), database.begin() as connection:
        execute(connection, statement)


def test_an_error_is_sqlalchemys_and_holds_no_value(database: Database) -> None:
    statement = insert(jars)
    with database.begin() as connection:
        execute(connection, statement, FULL)

    with pytest.raises(IntegrityError) as failed, database.begin() as connection:
        execute(connection, statement, FULL | {"worth": Decimal(777)})

    assert "777" not in str(failed.value)
