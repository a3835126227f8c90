"""The relay of the real orders service, from its outbox to the broker, against others publishing.

All publish the same bytes with the same routing key into the whole topology: six queues, of which
five are bound to it, and the history. Ours reads each event from PostgreSQL and marks it sent
besides. That all arrived is looked up in a queue.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import psycopg

from benchmarks.children import (
    PEERS,
    answer,
    clean_environment,
    peers_python,
    shop,
    started,
    wait_for,
)
from benchmarks.comparing import (
    Bench,
    Comparison,
    Contestant,
    NotThere,
    Role,
    WentWrong,
    rate_between,
)
from benchmarks.figures import Target
from benchmarks.sample import Orders
from benchmarks.servers import Place, Servers
from shared.errors import BrokerUnavailable
from shared.messaging.connect import broker_at
from shared.messaging.rabbitmq.publisher import WINDOW

EVENTS = 50_000
AT_MOST = 10.0
"""Seconds that a peer publishes."""
_PATIENCE = 120.0

TARGET = Target(
    "≥ 0.8 × rabbitmq-c; ≥ 5 × the best peer awaiting each confirm",
    lambda result: (result.ratio_to_limit or 0) >= 0.8 and (result.ratio_to_best_peer or 0) >= 5,
)


class Peer(NamedTuple):
    """One who publishes; `needs` are modules of the peers' environment."""

    name: str
    program: str
    needs: tuple[str, ...] = ()


PUBLISHERS = (
    Peer("pika, blocking", "relay_pika.py"),
    Peer("aio-pika", "relay_aio_pika.py", ("aio_pika",)),
    Peer("FastStream", "relay_faststream.py", ("faststream",)),
    Peer("kombu", "relay_kombu.py", ("kombu",)),
)


def measure(bench: Bench, servers: Servers) -> None:
    """Measure all in turn."""
    events = Orders(bench.size(EVENTS, least=200))
    with tempfile.TemporaryDirectory() as folder:
        bodies = Path(folder) / "bodies"
        bodies.write_bytes(b"\n".join(events.bodies) + b"\n")
        limit = partial(in_c, servers, events, bodies, Path(folder) / "relay_limit")
        contestants = [Contestant("relay", Role.OURS, partial(ours, servers, events))]
        contestants += [
            Contestant(each.name, Role.PEER, partial(theirs, servers, bodies, each))
            for each in PUBLISHERS
        ]
        contestants.append(Contestant(f"rabbitmq-c, window {WINDOW}", Role.LIMIT, limit))
        bench.compare(
            Comparison(name="relay", unit="events/s", target=TARGET, contestants=contestants)
        )


def ours(
    servers: Servers, events: Orders, *, before: Callable[[str], None] = lambda _url: None
) -> float:
    """The orders service with a full outbox.

    Args:
        before: told the database's URL, to fill it with what there is already.
    """
    with servers.shop("orders") as place:
        url = place.databases["orders"]
        before(url)
        with psycopg.connect(url) as connection:
            _write(connection, events)
            with started(shop("run", "orders"), clean_environment(**place.environment)) as (
                _,
                check,
            ):
                connection.autocommit = True
                wait_for(
                    lambda: _waiting(connection) == 0,
                    seconds=_PATIENCE,
                    what="all is sent",
                    check=check,
                )
            query = "SELECT sent_at FROM outbox WHERE event_type = 'order.placed.v1'"
            sent = connection.execute(query).fetchall()
        _must_have_arrived(place, events.number)
    return rate_between([row[0].timestamp() for row in sent])


def _write(connection: psycopg.Connection, events: Orders) -> None:
    columns = "event_id, topic, event_type, subject, correlation_id, occurred_at, body"
    query = f"COPY outbox ({columns}) FROM STDIN"
    with connection.cursor().copy(query.encode()) as copy:
        for event, body in zip(events.events, events.bodies, strict=True):
            copy.write_row(
                (
                    event.event_id,
                    event.topic,
                    event.type,
                    event.subject,
                    event.event_id,
                    event.occurred_at,
                    body.decode(),
                )
            )
    connection.execute("ANALYZE outbox")
    connection.commit()


def _waiting(connection: psycopg.Connection) -> int:
    row = connection.execute(
        "SELECT count(*) FROM outbox WHERE sent_at IS NULL AND refused IS NULL"
    ).fetchone()
    return int(row[0]) if row else 0


def theirs(servers: Servers, bodies: Path, peer: Peer) -> float:
    """A peer that awaits each confirm."""
    python = peers_python(*peer.needs) if peer.needs else sys.executable

    def command(place: Place) -> tuple[list[str], dict[str, str]]:
        environment = clean_environment(
            BENCH_AMQP_URL=place.amqp_url, BENCH_BODIES=str(bodies), BENCH_SECONDS=str(AT_MOST)
        )
        return [python, peer.program], environment

    return _publishing(servers, command)


def in_c(servers: Servers, events: Orders, bodies: Path, program: Path) -> float:
    """RabbitMQ's C client with the same window."""
    if not program.exists():
        _build(program)

    def command(place: Place) -> tuple[list[str], dict[str, str]]:
        url = urlsplit(place.amqp_url)
        where = (url.hostname or "", str(url.port), url.username or "", unquote(url.password or ""))
        arguments = [*where, unquote(url.path[1:]), str(bodies), str(WINDOW)]
        return [str(program), *arguments], clean_environment()

    return _publishing(servers, command, expected=events.number)


def _build(program: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NotThere("not built: there is no C compiler")
    source = PEERS / "relay_limit.c"
    command = [compiler, "-O2", "-o", str(program), str(source), "-lrabbitmq"]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        raise NotThere("not built: Debian's librabbitmq-dev is not installed")


def _publishing(
    servers: Servers,
    command: Callable[[Place], tuple[list[str], dict[str, str]]],
    *,
    expected: int | None = None,
) -> float:
    with servers.shop() as place:
        arguments, environment = command(place)
        said = answer(arguments, environment, seconds=_PATIENCE, cwd=PEERS)
        number = int(said["number"])
        if expected is not None and number != expected:
            raise WentWrong(f"published {number} of {expected}")
        _must_have_arrived(place, number)
    return number / float(said["seconds"])


def _must_have_arrived(place: Place, number: int) -> None:
    """A queue that nobody takes from must hold each of them."""
    found = 0

    def is_there() -> bool:
        nonlocal found
        with closing(broker_at(place.amqp_url)) as broker:
            found = broker.depth("analytics").ready
        return found >= number

    try:
        wait_for(is_there, seconds=10, what="what was confirmed is in the queue")
    except (WentWrong, BrokerUnavailable) as error:
        raise WentWrong(f"confirmed {number}, and {found} are in the queue") from error
