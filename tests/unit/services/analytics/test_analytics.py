import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from services.analytics.report import report
from services.analytics.service import analytics
from services.analytics.store import AnalyticsStore
from services.analytics.tables import metadata
from shared.events import (
    DomainEvent,
    OrderCancelled,
    OrderPlaced,
    OrderShipped,
    PaymentReceived,
    StockRanShort,
    StockReserved,
    UnknownEvent,
)
from shared.messaging.ports.consumer import Delivery, Outcome
from shared.messaging.topology import Retry
from shared.runtime.reactor import Reactor
from shared.storage.database import Database
from shared.storage.migrating import migrate
from shared.storage.tables import inbox
from shared.testing import Stage
from tests.support.deliveries import delivery_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path, [analytics])
    yield stage
    stage.close()


def test_a_type_that_could_be_personal_is_stored_and_reported_as_its_digest(
    tmp_path: Path,
) -> None:
    event = UnknownEvent(unknown_type="jane@example.com")
    with closing(Database(f"sqlite:///{tmp_path / 'analytics.db'}")) as database:
        migrate(database, analytics.migrations)
        reactor = Reactor(service=analytics, database=database, retry=Retry())

        (result,) = reactor.react([delivery_of(event, queue="analytics")]).results
        with database.read() as connection:
            stored = str(connection.execute(select(inbox.c.event_type)).all())
            reported = str(report(connection))

    assert result.outcome is Outcome.DONE
    assert result.event == event
    for text in (stored, reported):
        assert "sha256:8c87b489ce35" in text
        assert "jane" not in text


def placed(order_id: str, at: datetime = NOON, items: dict[str, int] | None = None) -> OrderPlaced:
    return OrderPlaced(
        order_id=order_id,
        occurred_at=at,
        customer_email="jane.canary@example.com",
        items=items or {"product-1": 2, "product-2": 1},
        shipping_address="123 Canary St",
        total_amount=Decimal("99.99"),
        currency="EUR",
    )


def paid(order_id: str, amount: str = "99.99", at: datetime = NOON) -> PaymentReceived:
    return PaymentReceived(
        order_id=order_id, occurred_at=at, amount=Decimal(amount), payment_method="card"
    )


def cancelled(order_id: str, refunded: str = "0.00", at: datetime = NOON) -> OrderCancelled:
    return OrderCancelled(
        order_id=order_id, occurred_at=at, reason="short", refunded_amount=Decimal(refunded)
    )


def shipped(order_id: str, at: datetime = NOON) -> OrderShipped:
    return OrderShipped(order_id=order_id, occurred_at=at, tracking_number="1", carrier="Swift")


def unknown(number: int = 1) -> UnknownEvent:
    return UnknownEvent(
        unknown_type=f"gift.wrapped.v{number}",
        about="ORD-1",
        occurred_at=NOON,
        data={"paper": "red"},
    )


def delivery(event: DomainEvent) -> Delivery:
    return delivery_of(event, queue="analytics")


def report_on(stage: Stage, *events: DomainEvent) -> dict[str, Any]:
    stage.publish(*events)
    assert {each.outcome for each in stage.play()} <= {Outcome.DONE}
    with stage.databases["analytics"].read() as connection:
        return report(connection)


def test_the_report_is_zero_without_events(stage: Stage) -> None:
    assert report_on(stage) == {
        "orders_placed": 0,
        "orders_cancelled": 0,
        "revenue": Decimal("0.00"),
        "units": {},
        "events": {},
        "days": [],
        "placed_to_shipped": {"orders": 0, "average_seconds": None, "median_seconds": None},
    }


def test_orders_are_counted(stage: Stage) -> None:
    figures = report_on(stage, placed("A"), placed("B"), placed("C"), cancelled("B"))

    assert (figures["orders_placed"], figures["orders_cancelled"]) == (3, 1)


def test_revenue_is_what_was_received_minus_refunds(stage: Stage) -> None:
    figures = report_on(
        stage, paid("A"), paid("B", "49.99"), cancelled("B", "49.99"), paid("C", "0.01")
    )

    assert figures["revenue"] == Decimal("100.00")
    assert str(figures["revenue"]) == "100.00"


def test_units_include_cancelled_orders(stage: Stage) -> None:
    figures = report_on(
        stage, placed("A"), placed("B", items={"product-1": 10_000}), cancelled("B")
    )

    assert figures["units"] == {"product-1": 10_002, "product-2": 1}


def test_every_event_is_counted_by_type_including_unknown_types(stage: Stage) -> None:
    figures = report_on(
        stage,
        placed("A"),
        StockReserved(order_id="A", items={"product-1": 2}),
        StockRanShort(order_id="B", missing={"product-3": 4}),
        unknown(),
        unknown(),
        unknown(2),
    )

    assert figures["events"] == {
        "gift.wrapped.v1": 2,
        "gift.wrapped.v2": 1,
        "order.placed.v1": 1,
        "stock.ran_short.v1": 1,
        "stock.reserved.v1": 1,
    }


def test_days_are_in_utc(stage: Stage) -> None:
    late_in_new_york = datetime.fromisoformat("2026-03-01T20:00:00-05:00")

    figures = report_on(
        stage, placed("A"), paid("A"), placed("B", late_in_new_york), cancelled("B")
    )

    first, second = figures["days"]
    assert (str(first["day"]), first["orders_placed"], first["orders_cancelled"]) == (
        "2026-03-01",
        1,
        1,
    )
    assert (first["revenue"], first["events"]) == (Decimal("99.99"), 3)
    assert (str(second["day"]), second["orders_placed"]) == ("2026-03-02", 1)
    assert second["revenue"] == Decimal("0.00")


@pytest.mark.parametrize(
    ("seconds", "average", "median"),
    [([90.25], 90.25, 90.25), ([1, 2, 30], 11.0, 2.0), ([1, 2, 4, 33], 10.0, 3.0)],
    ids=["one", "odd", "even"],
)
def test_time_to_ship_counts_only_shipped_orders(
    stage: Stage, seconds: list[float], average: float, median: float
) -> None:
    orders = [placed(f"O-{n}") for n in range(len(seconds))]
    parcels = [shipped(f"O-{n}", NOON + timedelta(seconds=s)) for n, s in enumerate(seconds)]

    figures = report_on(stage, *parcels, *orders, placed("WAITING"), shipped("NOT-PLACED"))

    assert figures["placed_to_shipped"] == {
        "orders": len(seconds),
        "average_seconds": average,
        "median_seconds": median,
    }


def test_a_duplicate_event_is_not_counted(stage: Stage) -> None:
    event = placed("A")

    figures = report_on(stage, event, event)
    again = report_on(stage, event)

    assert figures == again
    assert figures["orders_placed"] == 1


def test_an_event_that_the_inbox_no_longer_holds_is_counted_once(stage: Stage) -> None:
    event = placed("A")
    report_on(stage, event)
    database = stage.databases["analytics"]

    for _ in range(2):
        with analytics.unit_of_work(database) as work:
            work.store.add(event)

    assert report_on(stage)["units"] == {"product-1": 2, "product-2": 1}


def test_two_hundred_mixed_events_are_one_batch(stage: Stage) -> None:
    events: list[DomainEvent] = []
    for number in range(50):
        name = f"O-{number % 20}"
        events += [placed(name), paid(name), cancelled(name, "9.99"), unknown()]
    database = stage.databases["analytics"]
    reactor = Reactor(service=analytics, database=database, retry=analytics.retry)

    reaction = reactor.react([delivery(event) for event in [*events, events[0]]])

    assert {each.outcome for each in reaction.results} == {Outcome.DONE}
    assert [each.duplicate for each in reaction.results] == [False] * 200 + [True]
    figures = report_on(stage)
    assert figures["revenue"] == 50 * Decimal("90.00")
    assert figures["events"]["gift.wrapped.v1"] == 50
    assert figures["units"]["product-1"] == 100


def test_no_personal_data_is_stored(stage: Stage) -> None:
    report_on(stage, placed("A"))

    with stage.databases["analytics"].read() as connection:
        rows = [connection.execute(table.select()).all() for table in metadata.sorted_tables]
    assert "canary" not in repr(rows).lower()


MOMENTS = st.integers(0, 200_000).map(lambda minutes: NOON + timedelta(minutes=minutes / 7))
NAMES = st.sampled_from(["A", "B", "C"])
AMOUNTS = st.integers(0, 99_999).map(lambda cents: f"{cents / 100:.2f}")
EVENTS = st.lists(
    st.one_of(
        st.builds(
            placed, NAMES, MOMENTS, st.dictionaries(st.sampled_from("xyz"), st.integers(1, 9))
        ),
        st.builds(paid, NAMES, AMOUNTS, MOMENTS),
        st.builds(cancelled, NAMES, AMOUNTS, MOMENTS),
        st.builds(shipped, NAMES, MOMENTS),
        st.builds(unknown, st.integers(1, 3)),
    ),
    max_size=25,
)


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    """One database for all examples; each example leaves it empty."""
    with TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/analytics.db")
        with database.begin() as connection:
            metadata.create_all(connection)
        yield database
        database.close()


def report_in_batches(database: Database, batches: Sequence[Sequence[DomainEvent]]) -> Any:
    for batch in batches:
        with database.begin() as connection:
            store = AnalyticsStore(connection, database)
            store.prepare(batch)
            for event in batch:
                store.add(event)
            store.flush()
    with database.begin() as connection:
        figures = report(connection)
        for table in metadata.sorted_tables:
            connection.execute(table.delete())
    return figures


@settings(max_examples=60, deadline=None)
@given(events=EVENTS, randomness=st.randoms(use_true_random=False), size=st.integers(1, 10))
def test_the_report_does_not_depend_on_order_batches_or_duplicates(
    database: Database, events: list[DomainEvent], randomness: random.Random, size: int
) -> None:
    with_duplicates = [*events, *events[::3]]
    randomness.shuffle(with_duplicates)
    starts = range(0, len(with_duplicates), size)
    batches = [with_duplicates[start : start + size] for start in starts]

    expected = report_in_batches(database, [events])
    shuffled = report_in_batches(database, batches)

    assert shuffled == expected
    assert expected["events"] == Counter(event.type for event in events)
    orders = [event for event in events if isinstance(event, OrderPlaced)]
    assert expected["orders_placed"] == len(orders)
    assert expected["units"] == sum((Counter(event.items) for event in orders), Counter())
