"""Runs the whole shop: six service processes, a mail sink, and customers.

Afterwards the times of all orders are read from the six databases. These are on one server, so all
times are of one clock: `handled_at`, set when an event enters an inbox, and the commit times that
the server records (`track_commit_timestamp`) just before it syncs a commit.
"""

import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from benchmarks.comparison import MeasurementFailed
from benchmarks.processes import (
    clean_environment,
    json_output,
    running_process,
    shop_command,
    wait_for,
)
from benchmarks.sample_orders import STOCK
from benchmarks.servers import Servers, Workspace
from shared.events import OrderPlaced, wire_type
from shared.messaging.connect import broker_at

REACTIONS = {
    "orders": 2,  # reserved, shipped
    "inventory": 1,  # placed
    "email": 2,  # placed, shipped
    "shipping": 3,  # placed, paid, reserved
    "loyalty": 1,  # placed
    "analytics": 4,  # placed, paid, reserved, shipped
}
"""The number of each service's reactions to an order that is placed, paid and shipped."""

_START_TIMEOUT = 60.0


@dataclass(slots=True)
class OrderTrace:
    """The times of one order, in seconds of the database server's clock.

    Attributes:
        placed_at: when its OrderPlaced was committed to the outbox.
        placed_handled_at: when each service put OrderPlaced into its inbox.
        placed_committed_at: when each of these transactions was committed.
        handled_at: when each service put any of the order's events into its inbox.
    """

    placed_at: float
    placed_handled_at: list[float] = field(default_factory=list)
    placed_committed_at: list[float] = field(default_factory=list)
    handled_at: list[float] = field(default_factory=list)

    @property
    def is_finished(self) -> bool:
        """Whether all reactions to its events are done."""
        return len(self.handled_at) == sum(REACTIONS.values())


@dataclass(frozen=True, slots=True)
class BenchmarkShop:
    """A running shop; `check` raises MeasurementFailed once one of its processes has ended."""

    workspace: Workspace
    check: Callable[[], None]

    def place_orders(self, *, rate: float, seconds: float) -> float:
        """Place and pay orders; return the longest delay of one, in seconds."""
        command = [sys.executable, "-m", "benchmarks.order_load", str(rate), str(seconds)]
        environment = clean_environment(**self.workspace.environment)
        output = json_output(command, environment, seconds=3 * seconds + _START_TIMEOUT)
        self.check()
        return float(output["late"])

    def wait_until_handled(self, *, seconds: float) -> bool:
        """Wait until all events are handled; return whether they are before the timeout."""
        with ExitStack() as stack:
            connections = {
                name: stack.enter_context(psycopg.connect(url, autocommit=True))
                for name, url in self.workspace.databases.items()
            }
            placed = _number(connections["orders"], "SELECT count(*) FROM orders")

            def is_done() -> bool:
                return all(
                    _number(connections[name], "SELECT count(*) FROM inbox") >= each * placed
                    for name, each in REACTIONS.items()
                )

            try:
                wait_for(
                    is_done,
                    seconds=seconds,
                    what="all events are handled",
                    check=self.check,
                    every=1.0,
                )
            except MeasurementFailed:
                self.check()
                return False
        return True

    def traces(self) -> list[OrderTrace]:
        """The times of each order."""
        # The lines of an order are written with its OrderPlaced and never updated; the outbox row
        # is updated once it is sent, and then has the time of that transaction.
        query = "SELECT order_id, extract(epoch FROM pg_xact_commit_timestamp(xmin)) "
        with psycopg.connect(self.workspace.databases["orders"]) as connection:
            rows = connection.execute((query + "FROM order_lines").encode()).fetchall()
        traces = {order_id: OrderTrace(float(placed_at)) for order_id, placed_at in rows}
        for name in REACTIONS:
            self._read(name, traces)
        return list(traces.values())

    def _read(self, name: str, traces: Mapping[str, OrderTrace]) -> None:
        query = (
            "SELECT subject, event_type, extract(epoch FROM handled_at), "
            "extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM inbox"
        )
        with psycopg.connect(self.workspace.databases[name]) as connection:
            for subject, event_type, handled, committed in connection.execute(query):
                trace = traces[subject]
                trace.handled_at.append(float(handled))
                if event_type == wire_type(OrderPlaced):
                    trace.placed_handled_at.append(float(handled))
                    trace.placed_committed_at.append(float(committed))

    def verify(self) -> None:
        """Check that each order is shipped, its items reserved once, and both mails sent.

        Raises:
            MeasurementFailed: an effect is missing or wrong, or an event is dead.
        """
        wanted = self._rows("orders", "SELECT sku, sum(quantity) FROM order_lines GROUP BY sku")
        reserved = "SELECT sku, reserved FROM products WHERE reserved > 0"
        ((placed, shipped),) = self._rows(
            "orders", "SELECT count(*), count(shipped_at) FROM orders"
        )
        ((mails,),) = self._rows("email", "SELECT count(*) FROM sent_mails")
        dead = "SELECT event_id FROM failures WHERE outcome = 'dead'"
        lost = sum(len(self._rows(name, dead)) for name in REACTIONS)
        right = sorted(self._rows("inventory", reserved)) == sorted(wanted)
        if not right or (shipped, mails, lost) != (placed, 2 * placed, 0):
            raise MeasurementFailed(
                f"of {placed} orders {shipped} were shipped, {mails} mails were sent, {lost} "
                f"events are dead, the stock is {'right' if right else 'wrong'}"
            )

    def _rows(self, name: str, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.workspace.databases[name]) as connection:
            return connection.execute(query.encode()).fetchall()


@contextmanager
def running_shop(
    servers: Servers, *, before: Callable[[Workspace], None] = lambda _: None
) -> Iterator[BenchmarkShop]:
    """Start the shop with enough stock; wait until each service consumes.

    Args:
        before: called before the services start.
    """
    with servers.shop(*REACTIONS) as workspace, ExitStack() as stack:
        before(workspace)
        with psycopg.connect(workspace.databases["inventory"]) as connection:
            connection.execute("UPDATE products SET available = %s", [STOCK])
        port = free_port()
        environment = clean_environment(
            **workspace.environment, SHOP_SMTP_URL=f"smtp://127.0.0.1:{port}"
        )
        commands = [shop_command("run", name) for name in REACTIONS]
        commands.insert(0, [sys.executable, "-m", "benchmarks.mail_sink", str(port)])
        checks = [stack.enter_context(running_process(each, environment))[1] for each in commands]

        def check() -> None:
            for each in checks:
                each()

        wait_for(
            lambda: _all_consume(workspace),
            seconds=_START_TIMEOUT,
            what="all services consume",
            check=check,
        )
        yield BenchmarkShop(workspace, check)


def _all_consume(workspace: Workspace) -> bool:
    with closing(broker_at(workspace.amqp_url)) as broker:
        return all(broker.depth(name).consumers for name in REACTIONS)


def free_port() -> int:
    """A free TCP port."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _number(connection: psycopg.Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0
