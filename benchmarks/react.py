"""The real inventory service against peers that do the same effect, on a backlog of orders.

Ours validates, keeps reservations, logs each reaction and says StockReserved besides; the peers
keep the inbox and the stock alone. All effects are looked up in the database, and must be those
of each order once, though one in a hundred was delivered twice.
"""

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import psycopg

from benchmarks.children import (
    PEERS,
    clean_environment,
    peers_python,
    shop,
    started,
    wait_for,
)
from benchmarks.comparing import Bench, Comparison, Contestant, Role, WentWrong, rate_between
from benchmarks.figures import Target
from benchmarks.filling import (
    DRAMATIQ,
    QUEUE,
    QUORUM,
    Encode,
    fill_ours,
    fill_theirs,
    for_celery,
    for_dramatiq,
    plain,
)
from benchmarks.sample import PIECES, Orders, sku
from benchmarks.servers import Servers

BACKLOG = 50_000
AT_MOST = 20.0
"""Seconds that a contestant is measured; a slow one then has done a part of the backlog."""
_TO_START = 60.0

_HANDLED = "SELECT event_id FROM inbox"
_HANDLED_NOW = f"{_HANDLED} WHERE event_type = 'order.placed.v1'"
"""Not what `growth` has filled the inbox with."""
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
class Peer:
    """One who does the same.

    Attributes:
        command: after the interpreter.
        needs: modules that its environment must have; none for this one.
    """

    name: str
    command: tuple[str, ...]
    encode: Encode = plain
    arguments: Mapping[str, object] | None = None
    needs: tuple[str, ...] = ()
    role: Role = Role.PEER


_CELERY = ("-m", "celery", "-A", "react_celery", "worker", "-P", "threads", "-c", "8")
FRAMEWORKS = (
    Peer("FastStream", ("react_faststream.py",), needs=("faststream", "asyncpg")),
    Peer("Celery", _CELERY, for_celery, needs=("celery", "psycopg")),
    Peer(
        "Dramatiq",
        ("-m", "dramatiq", "react_dramatiq", "-p", "1", "-t", "8"),
        for_dramatiq,
        DRAMATIQ,
        needs=("dramatiq", "psycopg"),
    ),
)
PLAIN = Peer("pika + psycopg", ("react_plain.py",))
LIMIT = Peer("batches by hand", ("react_limit.py",), role=Role.LIMIT)


def measure(bench: Bench, servers: Servers) -> None:
    """Measure all in turn."""
    orders = Orders(bench.size(BACKLOG, least=50))
    others = [
        Contestant(each.name, each.role, partial(theirs, servers, orders, each))
        for each in (*FRAMEWORKS, PLAIN, LIMIT)
    ]
    ours_first = Contestant("inventory", Role.OURS, partial(ours, servers, orders))
    bench.compare(
        Comparison(name="react", unit="orders/s", target=TARGET, contestants=[ours_first, *others])
    )


def ours(
    servers: Servers,
    orders: Orders,
    *,
    processes: int = 1,
    before: Callable[[str], None] = lambda _url: None,
) -> float:
    """The service as it is, from the queue to the confirmed outgoing event.

    Args:
        before: told the database's URL, to fill it with what there is already.
    """
    with servers.shop("inventory") as place:
        url = place.databases["inventory"]
        stock(url, orders)
        before(url)
        fill_ours(place.amqp_url, orders, "inventory")
        environment = clean_environment(**place.environment)
        with ExitStack() as stack:
            run = partial(started, shop("run", "inventory"), environment)
            checks = [stack.enter_context(run())[1] for _ in range(processes)]

            def check() -> None:
                for each in checks:
                    each()

            _until_done(url, orders, check, published_in)
            if _one(url, "SELECT count(*) FROM outbox") >= orders.number:
                wait_for(
                    lambda: _one(url, _UNSENT) == 0,
                    seconds=AT_MOST,
                    what="the outgoing events are sent",
                    check=check,
                )
        handled = _times(url, _HANDLED_NOW.replace("event_id", "handled_at"))
        sent = _times(url, "SELECT sent_at FROM outbox WHERE sent_at IS NOT NULL")
        verify(url, orders, _HANDLED_NOW)
        told = len(sent) + _one(url, _UNSENT)
        _must(told == len(handled), f"{len(handled)} handled, and {told} events about it")
        reserved = _one(url, "SELECT count(*) FROM reservations WHERE state = 'reserved'")
        _must(reserved == len(handled), f"{len(handled)} handled, {reserved} reserved")
    # The slower of the two is the figure: an effect counts once its event has gone out too.
    return min(rate_between(handled), rate_between(sent))


def theirs(servers: Servers, orders: Orders, peer: Peer) -> float:
    """A peer at the same orders."""
    python = peers_python(*peer.needs) if peer.needs else sys.executable
    with servers.place("peer") as place:
        url = place.databases["peer"]
        with psycopg.connect(url) as connection:
            connection.execute(_TABLES)
        stock(url, orders)
        fill_theirs(place.amqp_url, orders, peer.encode, peer.arguments or QUORUM)
        environment = clean_environment(
            BENCH_AMQP_URL=place.amqp_url, BENCH_DATABASE_URL=url, BENCH_QUEUE=QUEUE
        )
        with started([python, *peer.command], environment, cwd=PEERS) as (_, check):
            _until_done(url, orders, check)
        verify(url, orders)
        return rate_between(_times(url, "SELECT handled_at FROM inbox"))


def stock(url: str, orders: Orders) -> None:
    """Put plenty of each product into stock."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO products (sku, available, reserved) VALUES (%s, %s, 0)",
            [(sku(each), PIECES) for each in range(orders.products)],
        )


def handled_in(connection: psycopg.Connection) -> tuple[int, float]:
    """How many were handled so far, and the seconds since the first."""
    query = "SELECT count(*), extract(epoch FROM now() - min(handled_at)) FROM inbox"
    row = connection.execute(query).fetchone()
    return (0, 0.0) if row is None else (row[0], float(row[1] or 0))


def published_in(connection: psycopg.Connection) -> tuple[int, float]:
    """The same of ours, told by what each leads to: its inbox may hold millions of others."""
    query = "SELECT count(*), extract(epoch FROM now() - min(created_at)) FROM outbox"
    row = connection.execute(query).fetchone()
    return (0, 0.0) if row is None else (row[0], float(row[1] or 0))


def _until_done(
    url: str,
    orders: Orders,
    check: Callable[[], None],
    progress: Callable[[psycopg.Connection], tuple[int, float]] = handled_in,
) -> None:
    """Until all is done, or has been at work for as long as it is measured."""
    with psycopg.connect(url, autocommit=True) as connection:
        wait_for(
            lambda: progress(connection)[0] > 0,
            seconds=_TO_START,
            what="the first effect",
            check=check,
        )

        def enough() -> bool:
            done, seconds = progress(connection)
            return done >= orders.number or seconds > AT_MOST

        wait_for(enough, seconds=2 * AT_MOST, what="the effects", check=check)


def verify(url: str, orders: Orders, handled_query: str = _HANDLED) -> None:
    """Each product must have put aside what the handled orders asked for, once.

    Raises:
        WentWrong: it has not.
    """
    with psycopg.connect(url) as connection:
        handled = {row[0] for row in connection.execute(handled_query.encode())}
        found: dict[str, int] = dict(
            connection.execute("SELECT sku, reserved FROM products WHERE reserved > 0")
        )
        lost = connection.execute(
            "SELECT count(*) FROM products WHERE sku LIKE 'sku-%%' AND available + reserved <> %s",
            (PIECES,),
        ).fetchone()
    expected = dict(orders.reserved_by(handled))
    _must(bool(handled), "it handled nothing")
    _must(found == expected and lost == (0,), "its effects are not those of each order once")


def _must(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads like an assertion
    if not holds:
        raise WentWrong(otherwise)


def _times(url: str, query: str) -> list[float]:
    with psycopg.connect(url) as connection:
        return [row[0].timestamp() for row in connection.execute(query.encode())]


def _one(url: str, query: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
        return int(row[0]) if row else 0
