"""A short story, killed at each of its steps and taken up again by another process.

A program of its own, `python -m tests.chaos.crashing`: it forks, which takes a process without
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
from shared.runtime.runner import RunnerParts, ServiceRunner
from shared.runtime.service_settings import queue_of, service_settings_of
from shared.runtime.settings import settings_for
from shared.runtime.setup import set_up
from shared.storage import outbox
from shared.storage.database import Database
from shared.storage.tables import outbox as outbox_table
from shop import registry
from tests.chaos import holdings, laws
from tests.chaos.evidence import Evidence, Held, World, gathered
from tests.chaos.steps import CountedBroker, CountedDatabase, Steps

PATIENCE = 20.0
"""Seconds until the laws must hold."""

RESTOCKED = {"product-1": 1000}

NEVER = 0
"""No step has this number."""


class Player:
    """All services in one thread, taking turns, so that the steps come in the same order."""

    def __init__(self, steps: Steps) -> None:
        settings = settings_for()
        self._steps = steps
        broker = broker_at(settings.broker_url_of("player"))
        moment = 0 if settings.is_embedded else 0.005
        self._broker = CountedBroker(broker, steps, moment, self._one_round)
        self._publishers: dict[str, Publisher] = {}
        self._running: dict[str, ServiceRunner] = {}
        self.databases: dict[str, Database] = {}
        self._looking: dict[str, Database] = {}
        log = log_to(Path(os.devnull).open("w"), settings)  # noqa: SIM115 - for the process's life
        for each in registry.all_services():
            url = settings.database_url_of(each.name)
            self.databases[each.name] = CountedDatabase(url, steps)
            self._looking[each.name] = Database(url)
            self._publishers[each.name] = self._broker.publisher()
            self._running[each.name] = ServiceRunner(
                RunnerParts(
                    service=each,
                    settings=settings,
                    queue=queue_of(each),
                    batch_size=service_settings_of(each).batch_size,
                    broker=cast("Broker", self._broker),  # all of it that a service at work uses
                    database=self.databases[each.name],
                    log=log,
                    metrics=Metrics(),
                    gateway=Mailer.opened(settings) if each.gateway else None,
                )
            )

    def build(self, order_id: str) -> list[str]:
        """An order is placed, paid and shipped; answers which laws are broken."""
        new = NewOrder(
            order_id=order_id,
            customer_email="a@b.example",
            shipping_address="here",
            items={"product-1": 1},
        )
        self._steps.actor = "orders places"
        with orders.unit_of_work(self.databases["orders"]) as work:
            order = place_order(new, work)
        self._steps.actor = "orders is paid"
        payment = Payment(order_id=order_id, amount=order.total_amount)
        with orders.unit_of_work(self.databases["orders"]) as work:
            pay_order(payment, work)
        return self.until_lawful()

    def take_up(self, order_id: str) -> list[str]:
        """What a customer and the services do after a crash; answers which laws are broken."""
        database = self._looking["orders"]
        with database.read() as connection:
            order = OrdersStore(connection, database).find(order_id)
        if order is None or order.paid_at is None:
            return self.build(order_id)  # placing the same again answers the order that is there
        return self.until_lawful()

    def until_lawful(self) -> list[str]:
        """Take turns until the laws hold; answers which do not, when patience is over."""
        until = time.monotonic() + PATIENCE
        while True:
            while self._turn():
                pass
            # What is on its way between broker and services shows in their databases first.
            on_its_way = laws.nothing_is_dropped(gathered(self._looking, Held()))
            if on_its_way and time.monotonic() < until:
                continue
            broken = laws.breaches(self._evidence())
            if not broken or time.monotonic() > until:
                return broken

    def _turn(self) -> bool:
        return sum(self._acts(name) for name in self._running) > 0  # each of them

    def _acts(self, name: str) -> bool:
        self._steps.actor = f"{name} relays"
        with self._looking[name].read() as connection:
            waiting = outbox.backlog(connection).depth
        if waiting:
            send_some(self.databases[name], self._publishers[name], source=name)
        self._steps.actor = f"{name} reacts"
        return self._reacts(name) or waiting > 0

    def _reacts(self, name: str) -> bool:
        """One round of the service's own loop."""
        self._running[name]._stopping.clear()
        self._running[name]._consume()
        return self._broker.consumers[name].has_taken

    def _one_round(self, name: str) -> None:
        self._running[name]._stopping.set()

    def _evidence(self) -> Evidence:
        settings = settings_for()
        mails = Path(settings.home, "mail", "new").glob("*")
        world = World(restocked=RESTOCKED, mails=[_message_id(each) for each in mails])
        return gathered(self._looking, self._held(), world)

    def _held(self) -> Held:
        settings = settings_for()
        if settings.is_embedded:
            return holdings.embedded(settings.home / "broker.db", self._looking)
        sent: set[str] = set()
        for database in self._looking.values():
            with database.read() as connection:
                sent |= {str(each) for each in connection.scalars(select(outbox_table.c.event_id))}
        url = settings.broker_url_of("player")
        # What is left there the management API knows, seconds later; the test asks it in the end.
        return holdings.rabbitmq(url, self._looking, expected=sent, left=[])


def _message_id(path: Path) -> str:
    return str(BytesHeaderParser().parsebytes(path.read_bytes())["Message-ID"])


def prepare() -> None:
    """Set everything up, with pieces enough for all repetitions."""
    for _ in set_up(registry.all_services()):
        pass
    database = Database(settings_for().database_url_of("inventory"))
    with inventory.unit_of_work(database) as work:
        for sku, pieces in RESTOCKED.items():
            work.store.restock(sku, pieces)


def points(names: Sequence[str]) -> Iterator[int | str]:
    """Where to crash: at each step, by its number; or at the first of each of these names."""
    if names:
        yield from names
        yield NEVER  # what was killed last is taken up as well
    yield from count(1)


def forked(work: Callable[[TextIO], None]) -> tuple[list[str], int]:
    """Do it in a process of its own; answers the lines that it told, and its exit code."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 1
        try:
            with os.fdopen(writing, "w") as told:
                work(told)
            code = 0
        except BaseException:  # noqa: BLE001 - a forked process must not go on as its parent
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as told:
        lines = told.read().splitlines()
    return lines, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def life(at: int | str, order_id: str, before: str | None) -> tuple[str, list[str], bool]:
    """Take up the order that was killed before, then tell another until its fatal step.

    Returns:
        JSON of the laws that the first has broken, the steps of the second, whether it was killed.
    """

    def live(told: TextIO) -> None:
        steps = Steps(told)
        player = Player(steps)
        told.write(json.dumps(player.take_up(before) if before else []) + "\n")
        steps.arm(at)
        player.build(order_id)

    (broken, *taken), code = forked(live)
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the process to be killed at {at} ended with {code}")
    return broken, taken, code != 0


def main(names: Sequence[str]) -> int:
    """Crash at each step in turn, until a law is broken, and print what came of it."""
    # Loaded once, here, so that no fork has to.
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
            print(f'{{"step": {json.dumps(step)}, "broken": {broken}}}', flush=True)  # noqa: T201 - this is what the test reads
        if broken != "[]":
            break
        before, step = f"ORD-{number}", steps[-1]
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
