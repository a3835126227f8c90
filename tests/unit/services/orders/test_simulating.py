import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest
from tenacity import Retrying, stop_after_delay, wait_fixed

from services.orders.cancelling import Cancellation, cancel_order
from services.orders.order import Order
from services.orders.paying import Payment, pay_order
from services.orders.service import orders
from services.orders.simulating import Simulation, random_order
from services.orders.store import OrdersStore
from shared.storage.database import Database
from shared.storage.unit_of_work import UnitOfWork
from shared.testing import Stage, recording


def contents(database: Database) -> list[tuple[object, ...]]:
    with database.read() as connection:
        latest = orders.store(connection, database).latest(limit=1000)
    return [
        (each.customer_email, each.shipping_address, dict(each.items), each.status)
        for each in reversed(latest)
    ]


def test_the_same_seed_places_the_same_orders(stage: Stage, database: Database) -> None:
    for _ in range(2):
        Simulation(database=database, rate=0, seed=5).run(15)

    both = contents(database)
    assert both[:15] == both[15:]
    assert len({each[0] for each in both}) > 1
    stage.play()


def test_most_orders_are_paid_and_some_cancelled_as_the_result_says(database: Database) -> None:
    with recording() as published:
        result = Simulation(database=database, rate=0, seed=1).run(100)

    topics = [event.topic for event in published]
    assert result.placed == topics.count("order.placed") == 100
    assert result.paid == topics.count("payment.received")
    assert result.cancelled == topics.count("order.cancelled")
    assert 70 <= result.paid <= 90
    assert 3 <= result.cancelled <= 20
    assert result.refused == 0


def test_a_payment_that_comes_too_late_is_counted(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(payment: Payment, work: UnitOfWork[OrdersStore]) -> Order:
        cancel_order(Cancellation(order_id=payment.order_id, reason="too late"), work)
        return pay_order(payment, work)

    monkeypatch.setattr("services.orders.simulating.pay_order", too_late)

    result = Simulation(database=database, rate=0, seed=1).run(10)

    assert result.paid == 0
    assert result.refused > 0
    assert result.refused + result.cancelled <= result.placed == 10


def test_a_rate_is_not_exceeded(database: Database) -> None:
    result = Simulation(database=database, rate=50, seed=1).run(10)

    assert result.seconds >= 9 / 50
    assert result.rate <= 10 / (9 / 50)


def test_it_stops_while_it_waits(database: Database) -> None:
    placed: list[int] = []

    result = Simulation(
        database=database,
        rate=0.01,
        seed=1,
        on_placed=lambda: placed.append(1),
        is_stopped=lambda: bool(placed),
    ).run(10)

    assert result.placed == 1


def test_one_product_is_enough_for_random_orders() -> None:
    rng = random.Random(1)  # noqa: S311 - not used for security

    assert all(random_order(rng, ["only-one"]).items for _ in range(50))


def test_an_interrupted_simulation_prints_its_result(tmp_path: Path) -> None:
    program = "from services.orders.commands import app; app()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "simulate", "--count=10000", "--rate=40", "--json"],
        env=os.environ | {"SHOP_HOME": str(tmp_path), "SHOP_DATABASE_URL": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for attempt in Retrying(stop=stop_after_delay(30), wait=wait_fixed(0.05)):
            with attempt:
                assert count_orders(tmp_path) >= 3
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()

    assert process.returncode == 130
    assert "Traceback" not in err
    assert json.loads(out)["placed"] == count_orders(tmp_path)


def count_orders(home: Path) -> int:
    if not (home / "orders.db").exists():
        return 0
    database = Database(f"sqlite:///{home / 'orders.db'}")
    try:
        with database.read() as connection:
            if not database.engine.dialect.has_table(connection, "orders"):
                return 0
            return len(orders.store(connection, database).latest(limit=10_000))
    finally:
        database.close()


def test_the_stock_of_a_new_shop_is_enough_for_a_thousand_orders() -> None:
    rng = random.Random(7)  # noqa: S311 - not used for security
    simulated = [random_order(rng, ["product-1", "product-2", "product-3"]) for _ in range(1000)]
    pieces: Counter[str] = Counter()
    for order in simulated:
        pieces.update(order.items)

    stock = import_module("services.inventory.migrations.0001_stock").INITIAL_STOCK
    scarce = [order for order in simulated if "product-3" in order.items]
    assert {sku: pieces[sku] <= stock[sku] / 3 for sku in ("product-1", "product-2")} == {
        "product-1": True,
        "product-2": True,
    }
    assert pieces["product-3"] > stock["product-3"], "some orders run short"
    assert 5 <= len(scarce) <= 50
