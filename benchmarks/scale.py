"""The speed of two processes of one service compared with one, with the backlog of `react`.

With 1,000 products they rarely lock the same rows; with 2 products they always do.
"""

from functools import partial

from benchmarks import react
from benchmarks.comparison import Bench, Comparison, Contestant, Figure, Measurement, Role
from benchmarks.result import Result, Target
from benchmarks.sample_orders import PRODUCTS, Orders
from benchmarks.servers import Servers

BACKLOG = 30_000
FEW = 2
ROUNDS = 2

MANY_PRODUCTS, FEW_PRODUCTS = f"{PRODUCTS:,} products", f"{FEW} products"


def _is_met(result: Result) -> bool:
    few = result.figures.get(FEW_PRODUCTS)
    return few is not None and result.ours.median >= 1.3 and few.median >= 0.9


TARGET = Target(f"≥ 1.3 ×; with {FEW} products ≥ 0.9 ×", _is_met)


def measure(bench: Bench, servers: Servers) -> None:
    """Measure with many products, and with few."""
    number = bench.size(BACKLOG, least=100)
    bench.compare(
        Comparison(
            name="scale",
            unit="×",
            target=TARGET,
            contestants=[
                Contestant(
                    name, Role.OURS, partial(two_processes, servers, Orders(number, products), name)
                )
                for name, products in ((MANY_PRODUCTS, PRODUCTS), (FEW_PRODUCTS, FEW))
            ],
            rounds=ROUNDS,
        )
    )


def two_processes(servers: Servers, orders: Orders, name: str) -> Measurement:
    """Compare two processes with one; both must apply each order's effect once."""
    one = react.measure_ours(servers, orders)
    both = react.measure_ours(servers, orders, processes=2)
    figures = {
        f"{name}, one process": Figure(one, "orders/s"),
        f"{name}, two processes": Figure(both, "orders/s"),
    }
    return Measurement(both / one, figures)
