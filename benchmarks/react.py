"""The speed of the inventory service, compared with peers that have the same effect.

Ours also validates, stores reservations, logs each reaction and publishes StockReserved; the peers
only write the inbox and the stock. The database must then have the effects of each order once,
although one order in a hundred was delivered twice.
"""

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import psycopg

from benchmarks.backlog import (
    DRAMATIQ,
    QUEUE,
    QUORUM,
    Encode,
    encode_for_celery,
    encode_for_dramatiq,
    encode_plain,
    publish_backlog,
    publish_peer_backlog,
)
from benchmarks.comparison import (
    Bench,
    Comparison,
    Contestant,
    MeasurementFailed,
    Role,
    rate_between,
)
from benchmarks.processes import (
    PEERS,
    clean_environment,
    peers_python,
    running_process,
    shop_command,
    wait_for,
)
from benchmarks.result import Target
from benchmarks.sample_orders import STOCK, Orders, sku
from benchmarks.servers import Servers

BACKLOG = 50_000
MAX_SECONDS = 20.0
"""Seconds that a contestant is measured; a slow one handles only part of the backlog."""
_START_TIMEOUT = 60.0

_HANDLED = "SELECT event_id FROM inbox"
_HANDLED_NOW = f"{_HANDLED} WHERE event_type = 'order.placed.v1'"
"""Without the rows that `growth` inserts."""
_UNSENT = "SELECT count(*) FROM outbox WHERE sent_at IS NULL AND refused IS NULL"

TARGET = Target(
    "≥ 3 × the best of FastStream, Celery and Dramatiq",
    lambda result: (result.ratio_to_best_peer or 0) >= 3,
)

_TABLES = """
    CREATE TABLE inbox (
        event_id uuid PRIMARY KEY, handled_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    CREATE TABLE products (
        sku text PRIMARY KEY,
        available bigint NOT NULL CHECK (available >= 0),
        reserved bigint NOT NULL CHECK (reserved >= 0)
    );
"""


@dataclass(frozen=True, slots=True)
class ReactPeer:
    """A program with the same effect.

    Attributes:
        command: after the interpreter.
        needs: modules that the peers' environment must have; none to use this environment.
    """

    name: str
    command: tuple[str, ...]
    encode: Encode = encode_plain
    arguments: Mapping[str, object] | None = None
    needs: tuple[str, ...] = ()
    role: Role = Role.PEER


_CELERY = ("-m", "celery", "-A", "react_celery", "worker", "-P", "threads", "-c", "8")
FRAMEWORKS = (
    ReactPeer("FastStream", ("react_faststream.py",), needs=("faststream", "asyncpg")),
    ReactPeer("Celery", _CELERY, encode_for_celery, needs=("celery", "psycopg")),
    ReactPeer(
        "Dramatiq",
        ("-m", "dramatiq", "react_dramatiq", "-p", "1", "-t", "8"),
        encode_for_dramatiq,
        DRAMATIQ,
        needs=("dramatiq", "psycopg"),
    ),
)
PLAIN = ReactPeer("pika + psycopg", ("react_plain.py",))
LIMIT = ReactPeer("batches by hand", ("react_limit.py",), role=Role.LIMIT)


def measure(bench: Bench, servers: Servers) -> None:
    """Measure all contestants."""
    orders = Orders(bench.size(BACKLOG, least=50))
    others = [
        Contestant(each.name, each.role, partial(measure_peer, servers, orders, each))
        for each in (*FRAMEWORKS, PLAIN, LIMIT)
    ]
    ours_first = Contestant("inventory", Role.OURS, partial(measure_ours, servers, orders))
    bench.compare(
        Comparison(name="react", unit="orders/s", target=TARGET, contestants=[ours_first, *others])
    )


def measure_ours(
    servers: Servers,
    orders: Orders,
    *,
    processes: int = 1,
    before: Callable[[str], None] = lambda _url: None,
) -> float:
    """Measure the inventory service, from the queue to the confirmed outgoing event.

    Args:
        before: called with the database's URL, to insert existing data.
    """
    with servers.shop("inventory") as workspace:
        url = workspace.databases["inventory"]
        stock(url, orders)
        before(url)
        publish_backlog(workspace.amqp_url, orders, "inventory")
        environment = clean_environment(**workspace.environment)
        with ExitStack() as stack:
            run = partial(running_process, shop_command("run", "inventory"), environment)
            checks = [stack.enter_context(run())[1] for _ in range(processes)]

            def check() -> None:
                for each in checks:
                    each()

            _until_done(url, orders, check, published_in)
            if _one(url, "SELECT count(*) FROM outbox") >= orders.number:
                wait_for(
                    lambda: _one(url, _UNSENT) == 0,
                    seconds=MAX_SECONDS,
                    what="the outgoing events are sent",
                    check=check,
                )
        handled = _times(url, _HANDLED_NOW.replace("event_id", "handled_at"))
        sent = _times(url, "SELECT sent_at FROM outbox WHERE sent_at IS NOT NULL")
        verify(url, orders, _HANDLED_NOW)
        announced = len(sent) + _one(url, _UNSENT)
        _must(announced == len(handled), f"{len(handled)} handled, {announced} outgoing events")
        reserved = _one(url, "SELECT count(*) FROM reservations WHERE state = 'reserved'")
        _must(reserved == len(handled), f"{len(handled)} handled, {reserved} reserved")
    # The slower of the two is the figure: an order counts once its event is sent too.
    return min(rate_between(handled), rate_between(sent))


def measure_peer(servers: Servers, orders: Orders, peer: ReactPeer) -> float:
    """Measure a peer with the same orders."""
    python = peers_python(*peer.needs) if peer.needs else sys.executable
    with servers.workspace("peer") as workspace:
        url = workspace.databases["peer"]
        with psycopg.connect(url) as connection:
            connection.execute(_TABLES)
        stock(url, orders)
        publish_peer_backlog(workspace.amqp_url, orders, peer.encode, peer.arguments or QUORUM)
        environment = clean_environment(
            BENCH_AMQP_URL=workspace.amqp_url, BENCH_DATABASE_URL=url, BENCH_QUEUE=QUEUE
        )
        with running_process([python, *peer.command], environment, cwd=PEERS) as (_, check):
            _until_done(url, orders, check)
        verify(url, orders)
        return rate_between(_times(url, "SELECT handled_at FROM inbox"))


def stock(url: str, orders: Orders) -> None:
    """Insert each product with enough stock."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO products (sku, available, reserved) VALUES (%s, %s, 0)",
            [(sku(each), STOCK) for each in range(orders.products)],
        )


def handled_in(connection: psycopg.Connection) -> tuple[int, float]:
    """The number of handled events, and the seconds since the first."""
    query = "SELECT count(*), extract(epoch FROM now() - min(handled_at)) FROM inbox"
    row = connection.execute(query).fetchone()
    return (0, 0.0) if row is None else (row[0], float(row[1] or 0))


def published_in(connection: psycopg.Connection) -> tuple[int, float]:
    """The same for ours, counted by outgoing events: its inbox may have millions of old rows."""
    query = "SELECT count(*), extract(epoch FROM now() - min(created_at)) FROM outbox"
    row = connection.execute(query).fetchone()
    return (0, 0.0) if row is None else (row[0], float(row[1] or 0))


def _until_done(
    url: str,
    orders: Orders,
    check: Callable[[], None],
    progress: Callable[[psycopg.Connection], tuple[int, float]] = handled_in,
) -> None:
    """Wait until all events are handled or the measured time is over."""
    with psycopg.connect(url, autocommit=True) as connection:
        wait_for(
            lambda: progress(connection)[0] > 0,
            seconds=_START_TIMEOUT,
            what="the first effect",
            check=check,
        )

        def enough() -> bool:
            done, seconds = progress(connection)
            return done >= orders.number or seconds > MAX_SECONDS

        wait_for(enough, seconds=2 * MAX_SECONDS, what="the effects", check=check)


def verify(url: str, orders: Orders, handled_query: str = _HANDLED) -> None:
    """Check that each product has reserved what the handled orders contain, once.

    Raises:
        MeasurementFailed: a product has not.
    """
    with psycopg.connect(url) as connection:
        handled = {row[0] for row in connection.execute(handled_query.encode())}
        found: dict[str, int] = dict(
            connection.execute("SELECT sku, reserved FROM products WHERE reserved > 0")
        )
        lost = connection.execute(
            "SELECT count(*) FROM products WHERE sku LIKE 'sku-%%' AND available + reserved <> %s",
            (STOCK,),
        ).fetchone()
    expected = dict(orders.reserved_by(handled))
    _must(bool(handled), "it handled nothing")
    _must(found == expected and lost == (0,), "its effects are not those of each order once")


def _must(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads like an assertion
    if not holds:
        raise MeasurementFailed(otherwise)


def _times(url: str, query: str) -> list[float]:
    with psycopg.connect(url) as connection:
        return [row[0].timestamp() for row in connection.execute(query.encode())]


def _one(url: str, query: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
        return int(row[0]) if row else 0
