"""The analytics store on PostgreSQL, where its report must be the same as on SQLite."""

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
    """The events of an order; they vary with its number."""
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
        sent = at + timedelta(seconds=7 * number, microseconds=123_400)
        return [
            *events,
            OrderShipped(order_id=order_id, occurred_at=sent, tracking_number="1", carrier="Swift"),
        ]
    refunded = Decimal("99.99")
    return [
        *events,
        OrderCancelled(order_id=order_id, occurred_at=at, reason="x", refunded_amount=refunded),
    ]


def add(database: Database, events: list[DomainEvent]) -> None:
    with analytics.unit_of_work(database) as work:
        for event in events:
            work.store.add(event)


def test_both_databases_report_the_same(postgresql: Database, sqlite: Database) -> None:
    events = [event for number in range(40) for event in history(number)]

    for database in (postgresql, sqlite):
        add(database, events)
    with postgresql.read() as first, sqlite.read() as second:
        reports = report(first), report(second)

    assert reports[0] == reports[1]
    assert reports[0]["revenue"] == 26 * Decimal("99.99")
    assert reports[0]["placed_to_shipped"]["orders"] == 26


def test_events_that_processes_add_concurrently_count_once(
    postgresql: Database,
) -> None:
    events = [event for number in range(50) for event in history(number)]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: add(postgresql, events), range(4)))

    with postgresql.read() as connection:
        assert report(connection)["orders_placed"] == 50
