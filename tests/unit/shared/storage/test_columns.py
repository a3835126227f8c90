from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, func, select
from sqlalchemy.exc import StatementError

from shared.storage.columns import MoneyAmount, SerialNumber, UtcTime
from shared.storage.database import Database
from shared.storage.tables import DatabaseClock

metadata = MetaData()
payments = Table(
    "payments",
    metadata,
    Column("number", SerialNumber, primary_key=True),
    Column("amount", MoneyAmount),
    Column("paid_at", UtcTime, server_default=DatabaseClock()),
    Column("lines", Integer),
)

NEW_YORK = timezone(timedelta(hours=-5))

AMOUNTS = st.decimals(min_value=-999_999_999_999, max_value=999_999_999_999, places=2)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder: Path = tmp_path_factory.mktemp("columns")
    with closing(Database(f"sqlite:///{folder / 'shop.db'}")) as database:
        metadata.create_all(database.engine)
        yield database


def stored(database: Database, **values: object) -> tuple[Decimal | None, datetime]:
    """The amount and time read from a row that was written with these values."""
    with database.begin() as connection:
        connection.execute(payments.delete())
        connection.execute(payments.insert(), [values])
        row = connection.execute(select(payments)).one()
        return row.amount, row.paid_at


@given(AMOUNTS)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_money_is_exact_to_the_cent(database: Database, amount: Decimal) -> None:
    found, _ = stored(database, amount=amount)

    assert found == amount
    assert str(found) == f"{amount:.2f}" or amount.is_zero()


@pytest.mark.parametrize(
    ("written", "read"),
    [("0.005", "0.01"), ("0.019", "0.02"), ("0.014", "0.01"), ("-0.005", "-0.01"), ("7", "7.00")],
)
def test_money_is_rounded_as_postgresql_does(database: Database, written: str, read: str) -> None:
    found, _ = stored(database, amount=Decimal(written))

    assert str(found) == read


def test_no_amount_is_none(database: Database) -> None:
    assert stored(database, amount=None)[0] is None


def test_sums_and_extremes_of_money_are_money(database: Database) -> None:
    amounts = [Decimal("0.10")] * 3 + [Decimal("49.99")]
    with database.begin() as connection:
        connection.execute(payments.delete())
        connection.execute(payments.insert(), [{"amount": each} for each in amounts])
        found = connection.execute(
            select(func.sum(payments.c.amount), func.max(payments.c.amount))
        ).one()

    assert tuple(map(str, found)) == ("50.29", "49.99")


def test_a_sum_of_no_rows_is_none(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(payments.delete())
        assert connection.execute(select(func.sum(payments.c.amount))).scalar() is None


def test_a_time_is_read_in_utc_and_exact_to_the_microsecond(database: Database) -> None:
    moment = datetime(2026, 3, 1, 23, 59, 59, 999_999, tzinfo=NEW_YORK)

    _, found = stored(database, paid_at=moment)

    assert found == moment
    assert found.tzinfo is UTC


def test_times_sort_and_compare_in_any_zone_and_precision(database: Database) -> None:
    early = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    moments = [
        early,
        early + timedelta(microseconds=1),
        (early + timedelta(milliseconds=1)).astimezone(NEW_YORK),
        early + timedelta(seconds=1),
    ]
    with database.begin() as connection:
        connection.execute(payments.delete())
        connection.execute(payments.insert(), [{"paid_at": each} for each in reversed(moments)])
        ordered = select(payments.c.paid_at).order_by(payments.c.paid_at)
        later = ordered.where(payments.c.paid_at > early)

        assert list(connection.execute(ordered).scalars()) == moments
        assert list(connection.execute(later).scalars()) == moments[1:]


def test_the_databases_clock_shows_the_current_time(database: Database) -> None:
    before = datetime.now(UTC)

    _, found = stored(database, amount=Decimal(1))

    # SQLite's clock has milliseconds.
    assert before - timedelta(milliseconds=1) <= found <= datetime.now(UTC)


def test_a_time_without_a_zone_is_rejected(database: Database) -> None:
    naive = datetime(2026, 3, 1, 12, 0)  # noqa: DTZ001 - on purpose

    with pytest.raises(StatementError, match="a time must have a time zone"):
        stored(database, paid_at=naive)


def test_serial_numbers_are_generated_in_order(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(payments.delete())
        connection.execute(payments.insert(), [{"lines": each} for each in range(3)])
        numbers = list(
            connection.execute(select(payments.c.number).order_by(payments.c.lines)).scalars()
        )

    assert numbers == sorted(set(numbers))
