"""Two processes of one service against one, on the backlog of `react`.

With 1,000 products they rarely meet; with 2 each wants what the other holds, always.
"""

from functools import partial

from benchmarks import react
from benchmarks.comparing import Bench, Comparison, Contestant, Figure, HistoryEvent, Role
from benchmarks.figures import Result, Target
from benchmarks.sample import PRODUCTS, Orders
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
                Contestant(name, Role.OURS, partial(two, servers, Orders(number, products), name))
                for name, products in ((MANY_PRODUCTS, PRODUCTS), (FEW_PRODUCTS, FEW))
            ],
            rounds=ROUNDS,
        )
    )


def two(servers: Servers, orders: Orders, name: str) -> HistoryEvent:
    """Two against one; each must have done each order's effect once."""
    one = react.ours(servers, orders)
    both = react.ours(servers, orders, processes=2)
    besides = {
        f"{name}, one process": Figure(one, "orders/s"),
        f"{name}, two processes": Figure(both, "orders/s"),
    }
    return HistoryEvent(both / one, besides)
