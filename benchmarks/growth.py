"""How much existing data slows down `react` and `relay`, and how much pruning slows down the shop.

Pairs of runs, with much and with little data; each figure is the first speed divided by the second.
For pruning it is the latency of orders without old rows divided by that with them.
"""

import time
from functools import partial
from statistics import median

import psycopg

from benchmarks import latency, react, relay
from benchmarks.comparison import Bench, Comparison, Contestant, Figure, Measurement, Role
from benchmarks.processes import wait_for
from benchmarks.result import Result, Target
from benchmarks.sample_orders import Orders
from benchmarks.servers import Servers, Workspace
from benchmarks.whole_shop import BenchmarkShop

ROWS = 5_000_000
MANY, FEW = 500_000, 5_000
ORDERS = 30_000
"""The backlog where its size is not what is measured."""
TURNS = 3
"""How often the small backlog is measured, since each takes only seconds."""
ROUNDS = 1

OLD_ROWS = 10_000_000
"""Of orders, half of them sent events and half records of failed attempts, all to be pruned."""
RATE = 50.0
SECONDS = 60
_SECONDS_PER_OLD_ROW = 1e-3
"""Until all of them must be gone."""

PAIRS = ("inbox", "backlog", "outbox", "pruning")

TARGET = Target(
    "≥ 0.9 × each",
    lambda result: all(_median(result, name) >= 0.9 for name in PAIRS),
)

_HANDLED = """
    INSERT INTO inbox (event_id, event_type, subject, outcome, occurred_at, handled_at)
    SELECT uuidv7(interval '-4 years' + number * interval '1 ms'), 'order.cancelled.v1',
        'OLD-' || number, 'handled', now() - interval '4 years', now() - interval '4 years'
    FROM generate_series(1, %s) AS number
"""
"""With older ids than new events have, as in production: UUIDv7 values sort by time."""

_SENT = """
    INSERT INTO outbox (
        event_id, topic, event_type, subject, correlation_id, occurred_at, body, created_at, sent_at
    )
    SELECT id, 'order.cancelled', 'order.cancelled.v1', 'OLD-' || number, id, moment,
        repeat('x', 400), moment, moment
    FROM (
        SELECT number, uuidv7(interval '-4 years' + number * interval '1 ms') AS id,
            now() - interval '6 days' + number * interval '0.1 s' AS moment
        FROM generate_series(1, %s) AS number
    )
"""
"""Too recent to be pruned, and as large as real events."""

_SENT_LONG_AGO = _SENT.replace("interval '6 days'", "interval '3 years'")
_FAILED_LONG_AGO = """
    INSERT INTO failures (
        event_id, event_type, subject, attempt, replays, outcome, error, message, traceback,
        failed_at
    )
    SELECT 'OLD-' || number, 'stock.reserved.v1', 'OLD-' || number, 1, 0, 'retried', 'NotKnownYet',
        'not known yet', repeat('x', 400), now() - interval '3 years' + number * interval '0.1 s'
    FROM generate_series(1, %s) AS number
"""
_STILL_OLD = """
    SELECT EXISTS (SELECT 1 FROM outbox WHERE sent_at < now() - interval '1 year')
        OR EXISTS (SELECT 1 FROM failures WHERE failed_at < now() - interval '1 year')
"""


def measure(bench: Bench, servers: Servers) -> None:
    """Measure the pairs."""
    orders = Orders(bench.size(ORDERS, least=100))
    rows = bench.size(ROWS, least=1_000)
    pairs = (
        partial(full_inbox, servers, orders, rows=rows),
        partial(long_backlog, bench, servers),
        partial(full_outbox, servers, orders, rows=rows),
        partial(
            pruning,
            servers,
            rows=bench.size(OLD_ROWS, least=10_000),
            seconds=bench.size(SECONDS, least=3),
        ),
    )
    bench.compare(
        Comparison(
            name="growth",
            unit="×",
            target=TARGET,
            contestants=[
                Contestant(name, Role.OURS, pair) for name, pair in zip(PAIRS, pairs, strict=True)
            ],
            rounds=ROUNDS,
        )
    )


def full_inbox(servers: Servers, orders: Orders, *, rows: int) -> Measurement:
    """Compare inventory with so many inbox rows with an empty inbox."""
    much = react.measure_ours(servers, orders, before=partial(_fill, _HANDLED, rows))
    return _pair("inbox", much, react.measure_ours(servers, orders), unit="orders/s")


def long_backlog(bench: Bench, servers: Servers) -> Measurement:
    """Compare inventory with a long backlog with a short one."""
    few = Orders(bench.size(FEW, least=50))
    much = react.measure_ours(servers, Orders(bench.size(MANY, least=500)))
    little = median(react.measure_ours(servers, few) for _ in range(bench.size(TURNS)))
    return _pair("backlog", much, little, unit="orders/s")


def full_outbox(servers: Servers, events: Orders, *, rows: int) -> Measurement:
    """Compare the relay with so many sent outbox rows with none."""
    much = relay.measure_ours(servers, events, before=partial(_fill, _SENT, rows))
    return _pair("outbox", much, relay.measure_ours(servers, events), unit="events/s")


def pruning(servers: Servers, *, rows: int, seconds: float) -> Measurement:
    """Compare the shop while so many rows of orders are pruned with the shop without them.

    Raises:
        MeasurementFailed: some are still there after a while.
    """
    began = time.monotonic()

    def fill(workspace: Workspace) -> None:
        nonlocal began
        for insert in (_SENT_LONG_AGO, _FAILED_LONG_AGO):
            _fill(insert, rows // 2, workspace.databases["orders"])
        began = time.monotonic()

    def wait_until_pruned(shop: BenchmarkShop) -> None:
        with psycopg.connect(shop.workspace.databases["orders"], autocommit=True) as connection:
            wait_for(
                lambda: connection.execute(_STILL_OLD).fetchone() == (False,),
                seconds=60 + rows * _SECONDS_PER_OLD_ROW,
                what="all old rows are pruned",
                check=shop.check,
            )

    much = latency.of_the_shop(
        servers, rate=RATE, seconds=seconds, before=fill, after=wait_until_pruned
    )
    pruned_in = time.monotonic() - began
    little = latency.of_the_shop(servers, rate=RATE, seconds=seconds)
    return Measurement(
        little.value / much.value,
        {
            "pruning, much": Figure(much.value, "ms"),
            "pruning, little": Figure(little.value, "ms"),
            "pruning, much, p99": much.figures["p99"],
            "pruning, little, p99": little.figures["p99"],
            "pruning, speed": Figure(rows / pruned_in, "rows/s"),
        },
    )


def _pair(name: str, much: float, little: float, *, unit: str) -> Measurement:
    figures = {f"{name}, much": Figure(much, unit), f"{name}, little": Figure(little, unit)}
    return Measurement(much / little, figures)


def _fill(insert: str, rows: int, url: str) -> None:
    """Insert so many rows, and let the server finish its maintenance."""
    table = insert.split()[2]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(insert.encode(), [rows])
        connection.execute(f"VACUUM ANALYZE {table}".encode())
        connection.execute("CHECKPOINT")


def _median(result: Result, name: str) -> float:
    return result.figures[name].median if name in result.figures else 0.0
