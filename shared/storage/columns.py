"""Kinds of column that mean the same on PostgreSQL and on SQLite."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, Numeric, String, TypeDecorator
from sqlalchemy.types import TypeEngine

SerialNumber = BigInteger().with_variant(Integer(), "sqlite")
"""Counts up by itself: SQLite does so for INTEGER PRIMARY KEY only."""


class UtcTime(TypeDecorator[datetime]):
    """An aware time in UTC; on SQLite text that sorts by time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime] | TypeEngine[str]:
        """The column's own type in each database."""
        return String(32) if dialect.name == "sqlite" else DateTime(timezone=True)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database.

        Raises:
            ValueError: the time is not aware, so each machine would take it for another.
        """
        require_aware(value)
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).isoformat(timespec="microseconds")  # type: ignore[return-value]

    def process_result_value(
        self, value: datetime | str | None, dialect: Dialect
    ) -> datetime | None:
        """From the database."""
        del dialect
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment and moment.astimezone(UTC)


def require_aware(value: datetime | None) -> None:
    """Raise ValueError for a time that each machine would take for another."""
    if value is not None and value.tzinfo is None:
        raise ValueError("a time should be aware")


class MoneyAmount(TypeDecorator[Decimal]):
    """An amount with two decimals; on SQLite, which has no decimals, in hundredths."""

    impl = Numeric(16, 2)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Decimal] | TypeEngine[int]:
        """The column's own type in each database."""
        return Integer() if dialect.name == "sqlite" else Numeric(16, 2)

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | None:
        """To the database."""
        if value is None or dialect.name != "sqlite":
            return value
        # Rounded as PostgreSQL does, half away from zero.
        hundredths = value.scaleb(2).quantize(Decimal(1), ROUND_HALF_UP)
        return int(hundredths)  # type: ignore[return-value]

    def process_result_value(self, value: Decimal | int | None, dialect: Dialect) -> Decimal | None:
        """From the database."""
        if value is None:
            return None
        return Decimal(value).scaleb(-2) if dialect.name == "sqlite" else Decimal(value)
