"""Column types with the same meaning on PostgreSQL and on SQLite."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, Numeric, String, TypeDecorator
from sqlalchemy.types import TypeEngine

SerialNumber = BigInteger().with_variant(Integer(), "sqlite")
"""An automatic primary key; SQLite generates one only for INTEGER PRIMARY KEY."""


class UtcTime(TypeDecorator[datetime]):
    """An aware time, in UTC; on SQLite a text that sorts by time. A naive time is a ValueError."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime] | TypeEngine[str]:
        return String(32) if dialect.name == "sqlite" else DateTime(timezone=True)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        require_aware(value)
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).isoformat(timespec="microseconds")  # type: ignore[return-value]

    def process_result_value(
        self, value: datetime | str | None, dialect: Dialect
    ) -> datetime | None:
        del dialect
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment and moment.astimezone(UTC)


def require_aware(value: datetime | None) -> None:
    """Raise ValueError for a time without a time zone."""
    if value is not None and value.tzinfo is None:
        raise ValueError("a time must have a time zone")


class MoneyAmount(TypeDecorator[Decimal]):
    """An amount with two decimals; on SQLite, which has no decimals, an integer of hundredths."""

    impl = Numeric(16, 2)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Decimal] | TypeEngine[int]:
        return Integer() if dialect.name == "sqlite" else Numeric(16, 2)

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | None:
        if value is None or dialect.name != "sqlite":
            return value
        # Rounded as PostgreSQL does, half away from zero.
        hundredths = value.scaleb(2).quantize(Decimal(1), ROUND_HALF_UP)
        return int(hundredths)  # type: ignore[return-value]

    def process_result_value(self, value: Decimal | int | None, dialect: Dialect) -> Decimal | None:
        if value is None:
            return None
        return Decimal(value).scaleb(-2) if dialect.name == "sqlite" else Decimal(value)
