"""The speed of the orders service's relay, compared with other publishers.

All publish the same bytes with the same routing key to the whole topology: six queues, of which
five are bound to it, and the history. Ours also reads each event from PostgreSQL and marks it as
sent. A queue is then checked to have received all of them.
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

from benchmarks.comparison import (
    Bench,
    Comparison,
    Contestant,
    MeasurementFailed,
    Role,
    Unavailable,
    rate_between,
)
from benchmarks.processes import (
    PEERS,
    clean_environment,
    json_output,
    peers_python,
    running_process,
    shop_command,
    wait_for,
)
from benchmarks.result import Target
from benchmarks.sample_orders import Orders
from benchmarks.servers import Servers, Workspace
from shared.errors import BrokerUnavailable
from shared.messaging.connect import broker_at
from shared.messaging.rabbitmq.publisher import WINDOW

EVENTS = 50_000
MAX_SECONDS = 10.0
"""Seconds that a peer publishes."""
_TIMEOUT = 120.0

TARGET = Target(
    "≥ 0.8 × rabbitmq-c; ≥ 5 × the best peer awaiting each confirm",
    lambda result: (result.ratio_to_limit or 0) >= 0.8 and (result.ratio_to_best_peer or 0) >= 5,
)


class RelayPeer(NamedTuple):
    """A publisher; `needs` are modules of the peers' environment."""

    name: str
    program: str
    needs: tuple[str, ...] = ()


PUBLISHERS = (
    RelayPeer("pika, blocking", "relay_pika.py"),
    RelayPeer("aio-pika", "relay_aio_pika.py", ("aio_pika",)),
    RelayPeer("FastStream", "relay_faststream.py", ("faststream",)),
    RelayPeer("kombu", "relay_kombu.py", ("kombu",)),
)


def measure(bench: Bench, servers: Servers) -> None:
    """Measure all contestants."""
    events = Orders(bench.size(EVENTS, least=200))
    with tempfile.TemporaryDirectory() as folder:
        bodies = Path(folder) / "bodies"
        bodies.write_bytes(b"\n".join(events.bodies) + b"\n")
        limit = partial(measure_rabbitmq_c, servers, events, bodies, Path(folder) / "relay_limit")
        contestants = [Contestant("relay", Role.OURS, partial(measure_ours, servers, events))]
        contestants += [
            Contestant(each.name, Role.PEER, partial(measure_peer, servers, bodies, each))
            for each in PUBLISHERS
        ]
        contestants.append(Contestant(f"rabbitmq-c, window {WINDOW}", Role.LIMIT, limit))
        bench.compare(
            Comparison(name="relay", unit="events/s", target=TARGET, contestants=contestants)
        )


def measure_ours(
    servers: Servers, events: Orders, *, before: Callable[[str], None] = lambda _url: None
) -> float:
    """Measure the orders service with a full outbox.

    Args:
        before: called with the database's URL, to insert existing data.
    """
    with servers.shop("orders") as workspace:
        url = workspace.databases["orders"]
        before(url)
        with psycopg.connect(url) as connection:
            _write(connection, events)
            with running_process(
                shop_command("run", "orders"), clean_environment(**workspace.environment)
            ) as (
                _,
                check,
            ):
                connection.autocommit = True
                wait_for(
                    lambda: _waiting(connection) == 0,
                    seconds=_TIMEOUT,
                    what="all events are sent",
                    check=check,
                )
            query = "SELECT sent_at FROM outbox WHERE event_type = 'order.placed.v1'"
            sent = connection.execute(query).fetchall()
        _must_have_arrived(workspace, events.number)
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


def measure_peer(servers: Servers, bodies: Path, peer: RelayPeer) -> float:
    """Measure a peer that waits for each confirm."""
    python = peers_python(*peer.needs) if peer.needs else sys.executable

    def command(workspace: Workspace) -> tuple[list[str], dict[str, str]]:
        environment = clean_environment(
            BENCH_AMQP_URL=workspace.amqp_url,
            BENCH_BODIES=str(bodies),
            BENCH_SECONDS=str(MAX_SECONDS),
        )
        return [python, peer.program], environment

    return _publishing(servers, command)


def measure_rabbitmq_c(servers: Servers, events: Orders, bodies: Path, program: Path) -> float:
    """Measure RabbitMQ's C client with the same window of unconfirmed messages."""
    if not program.exists():
        _build(program)

    def command(workspace: Workspace) -> tuple[list[str], dict[str, str]]:
        url = urlsplit(workspace.amqp_url)
        where = (url.hostname or "", str(url.port), url.username or "", unquote(url.password or ""))
        arguments = [*where, unquote(url.path[1:]), str(bodies), str(WINDOW)]
        return [str(program), *arguments], clean_environment()

    return _publishing(servers, command, expected=events.number)


def _build(program: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise Unavailable("not built: there is no C compiler")
    source = PEERS / "relay_limit.c"
    command = [compiler, "-O2", "-o", str(program), str(source), "-lrabbitmq"]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        raise Unavailable("not built: Debian's librabbitmq-dev is not installed")


def _publishing(
    servers: Servers,
    command: Callable[[Workspace], tuple[list[str], dict[str, str]]],
    *,
    expected: int | None = None,
) -> float:
    with servers.shop() as workspace:
        arguments, environment = command(workspace)
        output = json_output(arguments, environment, seconds=_TIMEOUT, cwd=PEERS)
        number = int(output["number"])
        if expected is not None and number != expected:
            raise MeasurementFailed(f"published {number} of {expected}")
        _must_have_arrived(workspace, number)
    return number / float(output["seconds"])


def _must_have_arrived(workspace: Workspace, number: int) -> None:
    """Check that a queue without a consumer holds all messages."""
    found = 0

    def is_there() -> bool:
        nonlocal found
        with closing(broker_at(workspace.amqp_url)) as broker:
            found = broker.depth("analytics").ready
        return found >= number

    try:
        wait_for(is_there, seconds=10, what="what was confirmed is in the queue")
    except (MeasurementFailed, BrokerUnavailable) as error:
        raise MeasurementFailed(f"confirmed {number}, and {found} are in the queue") from error
