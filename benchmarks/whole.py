"""The whole shop at work: six services, a process each, their mail into a sink, and customers.

What happened is read afterwards from the six databases. They are one server's, so that all times
are of one clock: `handled_at`, which is taken when an event enters an inbox, and the moments of
commits, which the server keeps (`track_commit_timestamp`) and takes just before it syncs them.
"""

import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from benchmarks.children import answer, clean_environment, shop, started, wait_for
from benchmarks.comparing import WentWrong
from benchmarks.sample import PIECES
from benchmarks.servers import Place, Servers
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
"""To an order that is placed, paid and shipped."""
TO_PLACED = [name for name in REACTIONS if name != "orders"]
"""Who reacts to an OrderPlaced."""

_TO_START = 60.0


@dataclass(slots=True)
class Story:
    """What became of one order, in seconds of the database's clock.

    Attributes:
        placed: the commit of its OrderPlaced into the outbox.
        heard: when each of the reactions to it entered an inbox.
        committed: when each of these was committed.
        handled: the same as `heard`, of all reactions to the order's events.
    """

    placed: float
    heard: list[float] = field(default_factory=list)
    committed: list[float] = field(default_factory=list)
    handled: list[float] = field(default_factory=list)

    @property
    def is_finished(self) -> bool:
        """Whether it is paid, shipped and fully reacted to."""
        return len(self.handled) == sum(REACTIONS.values())


@dataclass(frozen=True, slots=True)
class Shop:
    """All at work; `check` raises WentWrong once one of them has ended."""

    place: Place
    check: Callable[[], None]

    def serve(self, *, rate: float, seconds: float) -> float:
        """Let customers come; answers by how many seconds the latest of them was late."""
        command = [sys.executable, "-m", "benchmarks.customers", str(rate), str(seconds)]
        environment = clean_environment(**self.place.environment)
        said = answer(command, environment, seconds=3 * seconds + _TO_START)
        self.check()
        return float(said["late"])

    def finish(self, *, seconds: float) -> bool:
        """Wait for what is under way, at most so long; answers whether all is done."""
        with ExitStack() as stack:
            connections = {
                name: stack.enter_context(psycopg.connect(url, autocommit=True))
                for name, url in self.place.databases.items()
            }
            placed = _number(connections["orders"], "SELECT count(*) FROM orders")

            def is_done() -> bool:
                return all(
                    _number(connections[name], "SELECT count(*) FROM inbox") >= each * placed
                    for name, each in REACTIONS.items()
                )

            try:
                wait_for(is_done, seconds=seconds, what="it", check=self.check, every=1.0)
            except WentWrong:
                self.check()
                return False
        return True

    def stories(self) -> list[Story]:
        """What became of each order."""
        # The lines of an order are written with its OrderPlaced, and never again; the outbox's
        # row is, when it has been sent, and tells of that transaction from then on.
        query = "SELECT order_id, extract(epoch FROM pg_xact_commit_timestamp(xmin)) "
        with psycopg.connect(self.place.databases["orders"]) as connection:
            rows = connection.execute((query + "FROM order_lines").encode()).fetchall()
        stories = {order_id: Story(float(moment)) for order_id, moment in rows}
        for name in REACTIONS:
            self._read(name, stories)
        return list(stories.values())

    def _read(self, name: str, stories: Mapping[str, Story]) -> None:
        query = (
            "SELECT subject, event_type, extract(epoch FROM handled_at), "
            "extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM inbox"
        )
        with psycopg.connect(self.place.databases[name]) as connection:
            for subject, event_type, handled, committed in connection.execute(query):
                story = stories[subject]
                story.handled.append(float(handled))
                if event_type == wire_type(OrderPlaced):
                    story.heard.append(float(handled))
                    story.committed.append(float(committed))

    def verify(self) -> None:
        """Each order must be shipped once, its pieces put aside once, and both mails sent.

        Raises:
            WentWrong: they are not, or something failed for good.
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
            raise WentWrong(
                f"of {placed} orders {shipped} were shipped, {mails} mails were sent, {lost} "
                f"events are dead, the stock is {'right' if right else 'wrong'}"
            )

    def _rows(self, name: str, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.place.databases[name]) as connection:
            return connection.execute(query.encode()).fetchall()


@contextmanager
def at_work(servers: Servers) -> Iterator[Shop]:
    """The shop, open: each service consumes, and there is plenty in stock."""
    with servers.shop(*REACTIONS) as place, ExitStack() as stack:
        with psycopg.connect(place.databases["inventory"]) as connection:
            connection.execute("UPDATE products SET available = %s", [PIECES])
        port = free_port()
        environment = clean_environment(
            **place.environment, SHOP_SMTP_URL=f"smtp://127.0.0.1:{port}"
        )
        commands = [shop("run", name) for name in REACTIONS]
        commands.insert(0, [sys.executable, "-m", "benchmarks.mail_sink", str(port)])
        checks = [stack.enter_context(started(each, environment))[1] for each in commands]

        def check() -> None:
            for each in checks:
                each()

        wait_for(lambda: _all_consume(place), seconds=_TO_START, what="all consume", check=check)
        yield Shop(place, check)


def _all_consume(place: Place) -> bool:
    with closing(broker_at(place.amqp_url)) as broker:
        return all(broker.depth(name).consumers for name in REACTIONS)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _number(connection: psycopg.Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    return int(row[0]) if row else 0
