"""Places, pays and ships orders, and kills the process at each step in turn.

A program of its own, `python -m tests.chaos.crash_run`: it forks, which takes a process without
threads. The settings are those of the environment. It prints a line of JSON for each step.
"""

import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from email.parser import BytesHeaderParser
from itertools import count
from pathlib import Path
from typing import TextIO, cast

from sqlalchemy import select

from services.email.mailer import Mailer
from services.inventory.service import inventory
from services.orders.paying import Payment, pay_order
from services.orders.placing import NewOrder, place_order
from services.orders.service import orders
from services.orders.store import OrdersStore
from shared.messaging.connect import broker_at
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.publisher import Publisher
from shared.runtime.logs import log_to
from shared.runtime.metrics import Metrics
from shared.runtime.relay import send_some
from shared.runtime.runner import ServiceRunner
from shared.runtime.settings import settings_for
from shared.runtime.setup import set_up
from shared.storage import outbox
from shared.storage.database import Database
from shared.storage.tables import outbox as outbox_table
from shop import registry
from tests.chaos import broker_contents, invariants
from tests.chaos.state import BrokerContents, RunContext, SystemState, read_state
from tests.chaos.steps import CountedBroker, CountedDatabase, StepCounter

TIMEOUT = 20.0
"""Seconds until the invariants must hold."""

RESTOCKED = {"product-1": 1000}

NO_STEP = 0
"""No step has this number."""


class SingleThreadedShop:
    """Runs all services in turn in one thread, so that the steps have the same order each time."""

    def __init__(self, steps: StepCounter) -> None:
        settings = settings_for()
        self._steps = steps
        broker = broker_at(settings.broker_url_of("shop"))
        moment = 0 if settings.is_embedded else 0.005
        self._broker = CountedBroker(broker, steps, moment, self._stop_after_one_round)
        self._publishers: dict[str, Publisher] = {}
        self._running: dict[str, ServiceRunner] = {}
        self.databases: dict[str, Database] = {}
        self._observed: dict[str, Database] = {}
        log = log_to(Path(os.devnull).open("w"), settings)  # noqa: SIM115 - open until the process ends
        for each in registry.all_services():
            url = settings.database_url_of(each.name)
            self.databases[each.name] = CountedDatabase(url, steps)
            self._observed[each.name] = Database(url)
            self._publishers[each.name] = self._broker.publisher()
            self._running[each.name] = ServiceRunner(
                service=each,
                settings=settings,
                broker=cast("Broker", self._broker),  # the methods that a running service uses
                database=self.databases[each.name],
                log=log,
                metrics=Metrics(),
                gateway=Mailer.from_settings(settings) if each.gateway else None,
            )

    def build(self, order_id: str) -> list[str]:
        """Place, pay and ship an order; return the violated invariants."""
        new = NewOrder(
            order_id=order_id,
            customer_email="a@b.example",
            shipping_address="1 Main St",
            items={"product-1": 1},
        )
        self._steps.actor = "orders places"
        with orders.unit_of_work(self.databases["orders"]) as work:
            order = place_order(new, work)
        self._steps.actor = "orders is paid"
        payment = Payment(order_id=order_id, amount=order.total_amount)
        with orders.unit_of_work(self.databases["orders"]) as work:
            pay_order(payment, work)
        return self.run_until_consistent()

    def resume(self, order_id: str) -> list[str]:
        """Complete an order after a crash; return the violated invariants."""
        database = self._observed["orders"]
        with database.read() as connection:
            order = OrdersStore(connection, database).find(order_id)
        if order is None or order.paid_at is None:
            return self.build(order_id)  # placing an existing order returns it
        return self.run_until_consistent()

    def run_until_consistent(self) -> list[str]:
        """Run the services until the invariants hold; return those violated at the timeout."""
        until = time.monotonic() + TIMEOUT
        while True:
            while self._run_each_service():
                pass
            # Messages between broker and services are seen in the databases first.
            on_its_way = invariants.no_event_is_lost(read_state(self._observed, BrokerContents()))
            if on_its_way and time.monotonic() < until:
                continue
            broken = invariants.violations(self._evidence())
            if not broken or time.monotonic() > until:
                return broken

    def _run_each_service(self) -> bool:
        return (
            sum(self._run_service(name) for name in self._running) > 0
        )  # a list would stop at none

    def _run_service(self, name: str) -> bool:
        self._steps.actor = f"{name} relays"
        with self._observed[name].read() as connection:
            waiting = outbox.backlog(connection).depth
        if waiting:
            send_some(self.databases[name], self._publishers[name], source=name)
        self._steps.actor = f"{name} reacts"
        return self._reacts(name) or waiting > 0

    def _reacts(self, name: str) -> bool:
        """Run the service's own loop once."""
        self._running[name]._stopping.clear()
        self._running[name]._consume()
        return self._broker.consumers[name].has_taken

    def _stop_after_one_round(self, name: str) -> None:
        self._running[name]._stopping.set()

    def _evidence(self) -> SystemState:
        settings = settings_for()
        mails = Path(settings.home, "mail", "new").glob("*")
        context = RunContext(restocked=RESTOCKED, mails=[_message_id(each) for each in mails])
        return read_state(self._observed, self._held(), context)

    def _held(self) -> BrokerContents:
        settings = settings_for()
        if settings.is_embedded:
            return broker_contents.embedded(settings.home / "broker.db", self._observed)
        sent: set[str] = set()
        for database in self._observed.values():
            with database.read() as connection:
                sent |= {str(each) for each in connection.scalars(select(outbox_table.c.event_id))}
        url = settings.broker_url_of("shop")
        # The management API knows what is left only seconds later; the test asks it at the end.
        return broker_contents.rabbitmq(url, self._observed, expected=sent, left=[])


def _message_id(path: Path) -> str:
    return str(BytesHeaderParser().parsebytes(path.read_bytes())["Message-ID"])


def prepare() -> None:
    """Set up all services, with enough stock for all orders."""
    for _ in set_up(registry.all_services()):
        pass
    database = Database(settings_for().database_url_of("inventory"))
    with inventory.unit_of_work(database) as work:
        for sku, pieces in RESTOCKED.items():
            work.store.restock(sku, pieces)


def points(names: Sequence[str]) -> Iterator[int | str]:
    """Yield the steps to crash at: each name's first occurrence, or without names every number."""
    if names:
        yield from names
        yield NO_STEP  # the order that was killed last is completed too
    yield from count(1)


def forked(work: Callable[[TextIO], None]) -> tuple[list[str], int]:
    """Run `work` in a forked process; return the lines that it wrote and its exit code."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 1
        try:
            with os.fdopen(writing, "w") as lines_file:
                work(lines_file)
            code = 0
        except BaseException:  # noqa: BLE001 - the child must not continue as its parent
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as lines_file:
        lines = lines_file.read().splitlines()
    return lines, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def life(at: int | str, order_id: str, before: str | None) -> tuple[str, list[str], bool]:
    """Complete the order that was killed before, then process another until its fatal step.

    Returns:
        JSON of the invariants that the first violates; the steps of the second; whether it was
        killed.
    """

    def work(record: TextIO) -> None:
        steps = StepCounter(record)
        shop = SingleThreadedShop(steps)
        record.write(json.dumps(shop.resume(before) if before else []) + "\n")
        steps.arm(at)
        shop.build(order_id)

    (broken, *taken), code = forked(work)
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the process to be killed at {at} ended with {code}")
    return broken, taken, code != 0


def main(names: Sequence[str]) -> int:
    """Crash at each step in turn until an invariant is violated; print a line for each step."""
    # Imported before forking, so that no child has to.
    for adapter in ("embedded", "rabbitmq"):
        importlib.import_module(f"shared.messaging.{adapter}")
    registry.all_services()
    _, code = forked(lambda _: prepare())
    before = step = None
    killed = code == 0
    for number, at in enumerate(points(names)):
        if not killed:
            break
        broken, steps, killed = life(at, f"ORD-{number}", before)
        if step:
            print(f'{{"step": {json.dumps(step)}, "broken": {broken}}}', flush=True)  # noqa: T201 - the test reads it
        if broken != "[]":
            break
        before, step = f"ORD-{number}", steps[-1]
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
