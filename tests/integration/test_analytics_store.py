"""The analytics store on PostgreSQL, where its report must say what it says on SQLite."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from services.analytics.report import report
from services.analytics.service import analytics
from shared.events import (
    DomainEvent,
    OrderCancelled,
    OrderPlaced,
    OrderShipped,
    PaymentReceived,
    UnknownEvent,
)
from shared.storage.database import Database
from shared.storage.migrating import migrate

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def postgresql(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    migrate(database, analytics.migrations)
    yield database
    database.close()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/analytics.db")
    migrate(database, analytics.migrations)
    yield database
    database.close()


def history(number: int) -> list[DomainEvent]:
    """An order with a life of its own, the more different the higher its number."""
    order_id = f"ORD-{number}"
    at = NOON + timedelta(hours=number, microseconds=number * 1_700)
    events: list[DomainEvent] = [
        OrderPlaced(
            order_id=order_id,
            occurred_at=at,
            customer_email="jane@example.com",
            items={"product-1": 1 + number, "product-2": 1},
            shipping_address="123 Main St",
            total_amount=Decimal("99.99"),
            currency="EUR",
        ),
        PaymentReceived(
            order_id=order_id, occurred_at=at, amount=Decimal("99.99"), payment_method="card"
        ),
        UnknownEvent(unknown_type="gift.wrapped.v1", about=order_id, occurred_at=at),
    ]
    if number % 3:
        late = at + timedelta(seconds=7 * number, microseconds=123_400)
        return [
            *events,
            OrderShipped(order_id=order_id, occurred_at=late, tracking_number="1", carrier="Swift"),
        ]
    refunded = Decimal("99.99")
    return [
        *events,
        OrderCancelled(order_id=order_id, occurred_at=at, reason="x", refunded_amount=refunded),
    ]


def keep(database: Database, events: list[DomainEvent]) -> None:
    with analytics.unit_of_work(database) as work:
        for event in events:
            work.store.keep(event)


def test_both_databases_report_the_same(postgresql: Database, sqlite: Database) -> None:
    events = [event for number in range(40) for event in history(number)]

    for database in (postgresql, sqlite):
        keep(database, events)
    with postgresql.read() as one, sqlite.read() as other:
        reports = report(one), report(other)

    assert reports[0] == reports[1]
    assert reports[0]["revenue"] == 26 * Decimal("99.99")
    assert reports[0]["placed_to_shipped"]["orders"] == 26


def test_processes_that_count_the_same_events_at_once_count_them_once(
    postgresql: Database,
) -> None:
    batches = [[event for n in range(50) for event in history(n)] for _ in range(4)]
    shared_by_all = batches[0]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: keep(postgresql, shared_by_all), batches))

    with postgresql.read() as connection:
        assert report(connection)["orders_placed"] == 50
