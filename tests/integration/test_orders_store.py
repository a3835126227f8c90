"""Orders on PostgreSQL: concurrent processes with the same orders."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import text
from sqlalchemy.event import listen
from tenacity import Retrying, stop_after_delay, wait_fixed
from typer.testing import CliRunner

from services.orders.commands import app
from services.orders.order import Order, OrderConflict
from services.orders.placing import place_order
from services.orders.service import orders
from shared.errors import CommitOutcomeUnknown, OperationFailed
from shared.messaging.ports.consumer import Outcome
from shared.storage.database import Database
from shared.storage.migrating import migrate
from tests.containers import ALLOW_PLAINTEXT
from tests.unit.services.orders.samples import (
    cancel,
    find_order,
    new_order,
    pay,
    place,
    react_in_one_batch,
    shipments_and_shortages,
)

END_THE_BACKEND_IN_ITS_COMMIT = """
    CREATE FUNCTION end_me() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT OR UPDATE ON orders
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION end_me();
"""


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    migrate(database, orders.migrations)
    yield database
    database.close()


def concurrently(*functions: Callable[[], object]) -> list[object]:
    """What each function returned, or raised."""
    barrier = Barrier(len(functions))

    def call(function: Callable[[], object]) -> object:
        barrier.wait(10)
        try:
            return function()
        except OperationFailed as error:
            return error

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(call, functions))


def published(database: Database, topic: str) -> int:
    with database.read() as connection:
        statement = text("SELECT count(*) FROM outbox WHERE topic = :topic")
        return int(connection.execute(statement, {"topic": topic}).scalar_one())


def test_an_order_placed_four_times_concurrently_is_stored_once(
    database: Database,
) -> None:
    results = concurrently(*[lambda: place(database)] * 4)

    assert results == [find_order(database)] * 4
    assert published(database, "order.placed") == 1


def test_a_second_order_with_the_same_id_waits_and_is_rejected(database: Database) -> None:
    with ThreadPoolExecutor(1) as pool:
        with orders.unit_of_work(database) as work:
            place_order(new_order(), work)
            second = pool.submit(place, database, items={"product-3": 1})
            wait_for_a_lock(database)
        with pytest.raises(OrderConflict, match="ORD-123 already exists"):
            second.result(10)

    assert published(database, "order.placed") == 1


def test_an_id_is_free_after_its_order_is_rolled_back(database: Database) -> None:
    with ThreadPoolExecutor(1) as pool:
        with suppress(ZeroDivisionError), orders.unit_of_work(database) as work:
            place_order(new_order(), work)
            second = pool.submit(place, database, items={"product-3": 1})
            wait_for_a_lock(database)
            raise ZeroDivisionError

        assert second.result(10) == find_order(database)


def test_one_of_a_concurrent_payment_and_cancellation_succeeds(database: Database) -> None:
    for number in range(10):
        order_id = place(database, order_id=f"ORD-{number}").order_id
        results = concurrently(
            lambda order_id=order_id: pay(database, order_id),  # type: ignore[misc]
            lambda order_id=order_id: cancel(database, order_id),  # type: ignore[misc]
        )

        (result,) = (each for each in results if isinstance(each, Order))
        assert [type(each) for each in results if each is not result] == [OrderConflict]
        assert find_order(database, order_id) == result
    assert published(database, "payment.received") + published(database, "order.cancelled") == 10


def test_batches_about_the_same_orders_do_not_deadlock(database: Database) -> None:
    for number in range(100):
        place(database, order_id=f"ORD-{number}")
        pay(database, f"ORD-{number}")
    batches = [shipments_and_shortages(100) for _ in range(3)]
    batches[1].reverse()
    begun: list[object] = []
    listen(database.engine, "begin", begun.append)

    results = concurrently(
        *(lambda batch=batch: react_in_one_batch(database, batch) for batch in batches)
    )

    assert len(begun) == 3, "a batch that failed would be handled one by one"
    for reacted in results:
        assert isinstance(reacted, Sequence)
        assert [each.outcome for each in reacted] == [Outcome.DONE] * 200
    assert published(database, "order.cancelled") == 20


def test_an_unknown_outcome_of_a_commit_is_reported(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place(database)
    with database.begin() as connection:
        connection.execute(text(END_THE_BACKEND_IN_ITS_COMMIT))
    url = database.address.render_as_string(hide_password=False)
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "shop_database_url").write_text(url)
    monkeypatch.setenv("SHOP_KEYS", str(tmp_path))
    monkeypatch.setenv("SHOP_ALLOW_PLAINTEXT", str(ALLOW_PLAINTEXT))

    result = CliRunner().invoke(app, ["pay", "ORD-123", "--amount", "99.99"])

    assert isinstance(result.exception, CommitOutcomeUnknown)
    assert "not known whether ORD-123 was paid" in str(result.exception)
    assert "shop orders show ORD-123" in str(result.exception)


def wait_for_a_lock(database: Database) -> None:
    """Wait until another transaction waits for a lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    for attempt in Retrying(stop=stop_after_delay(10), wait=wait_fixed(0.02)):
        with attempt, database.read() as connection:
            assert connection.execute(waiting).scalar_one() == 1
