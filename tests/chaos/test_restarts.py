"""Processes that are restarted, or killed by a message, while there is a backlog."""

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select

from services.inventory.service import inventory
from services.orders.paying import Payment, pay_order
from services.orders.placing import NewOrder, place_order
from services.orders.service import orders
from shared.runtime.settings import settings_for, settings_override
from shared.runtime.setup import set_up_embedded
from shared.storage.database import Database
from shared.storage.tables import failures, inbox
from shop import registry
from tests.chaos import broker_contents, invariants
from tests.chaos.any_environment import LOW_LIMIT_SERVICE, SHOP
from tests.chaos.environment import running_environment
from tests.chaos.faulty_service import KILLS
from tests.chaos.message_faults import order
from tests.chaos.state import BrokerContents, RunContext, SystemState, read_state
from tests.chaos.supervisor import SupervisedProcess, Supervisor
from tests.containers import need_docker
from tests.support.waiting import eventually

RESTARTS = 25
BACKLOG, MORE = 100, 20
"""Orders placed first, and before each restart."""

RESTOCKED = 1000

Databases = Mapping[str, Database]


def place_orders(database: Database, count: int) -> None:
    """Place and pay so many orders, a backlog for every service."""
    for number in range(0, count, 100):
        with orders.unit_of_work(database) as work:
            for _ in range(number, min(number + 100, count)):
                new = NewOrder(
                    customer_email="a@b.example",
                    shipping_address="1 Main St",
                    items={"product-1": 1},
                )
                total = place_order(new, work).total_amount
                work.store.flush()
                payment = Payment(order_id=new.order_id, amount=total)
                pay_order(payment, work)


def handled(databases: Databases, service: str) -> int:
    with databases[service].read() as connection:
        return connection.execute(select(func.count()).select_from(inbox)).scalar_one()


def failed(databases: Databases) -> list[str]:
    """Every failed attempt that a service has recorded."""
    found: list[str] = []
    for name, database in databases.items():
        with database.read() as connection:
            errors = connection.execute(select(failures.c.event_id, failures.c.error))
            found += [f"{name}: {row.event_id} {row.error}" for row in errors]
    return found


def roll(
    supervisor: Supervisor,
    times: int,
    *,
    paused: Callable[[SupervisedProcess], AbstractContextManager[None]],
    add_work: Callable[[], None],
    has_work: Callable[[SupervisedProcess], bool],
) -> None:
    """Stop the processes gracefully one after the other, each while it has work.

    Args:
        paused: holds the process back until it has work.
        add_work: publishes events.
        has_work: whether the process has work in progress.
    """
    # Only orders relays what is placed; frozen, it would leave the others without work.
    processes = [each for each in supervisor.processes.values() if each.service != "orders"]
    for number in range(times):
        process = processes[number % len(processes)]
        eventually(partial(_has_started, process), within=60)
        with paused(process):
            add_work()
            eventually(partial(has_work, process))
            assert supervisor.end(process, signal.SIGTERM) == 0


@pytest.mark.docker
@pytest.mark.timeout(600)
def test_twenty_five_rolling_restarts_use_up_no_attempt(tmp_path: Path) -> None:
    need_docker()
    names = ("orders", "inventory-1", "inventory-2", "shipping", "email", "analytics", "loyalty")
    with running_environment(
        tmp_path, seed=1, processes=[(name, False) for name in names]
    ) as environment:
        place_orders(environment.databases["orders"], BACKLOG)

        roll(
            environment.supervisor,
            RESTARTS,
            paused=environment.supervisor.frozen,
            add_work=lambda: place_orders(environment.databases["orders"], MORE),
            has_work=lambda process: environment.unacknowledged(process.service) > 0,
        )

        state = environment.wait_until_quiet()
        assert invariants.violations(state) == []
        assert failed(environment.databases) == []
        assert not any(state.broker.dead.values())


@pytest.mark.timeout(600)
def test_rolling_restarts_of_the_embedded_shop_use_up_no_attempt(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SHOP_")}
    environment["SHOP_HOME"] = str(tmp_path)
    with settings_override(home=tmp_path):
        settings = settings_for()
        set_up_embedded(registry.all_services(), settings)
    with ExitStack() as stack:
        databases = {name: Database(settings.database_url_of(name)) for name in registry.names()}
        for each in databases.values():
            stack.callback(each.close)
        with inventory.unit_of_work(databases["inventory"]) as work:
            work.store.restock("product-1", RESTOCKED)
        place_orders(databases["orders"], BACKLOG)
        supervisor = Supervisor(
            [
                SupervisedProcess(
                    name=name,
                    service=name,
                    command=[str(SHOP), "run", name],
                    environment=environment,
                    log=tmp_path / f"{name}.log",
                )
                for name in registry.names()
            ]
        )
        supervisor.start()
        stack.callback(supervisor.stop)

        roll(
            supervisor,
            len(supervisor.processes),
            paused=lambda _: nullcontext(),  # frozen it might keep the broker's file locked for all
            add_work=lambda: place_orders(databases["orders"], MORE),
            has_work=lambda _: bool(_held(tmp_path, databases).left),
        )

        context = RunContext(restocked={"product-1": RESTOCKED})
        eventually(
            lambda: (
                not invariants.violations(
                    read_state(databases, _held(tmp_path, databases), context)
                )
            ),
            within=90,
        )
        assert failed(databases) == []


def _has_started(process: SupervisedProcess) -> bool:
    """Before, it has no handler for SIGTERM, and nothing to hand back."""
    return process.log.read_text().count('"event": "started"') == process.started


def _placed(state: SystemState) -> set[str]:
    return {each.event_id for each in state.outbox if each.topic == "order.placed"}


def _held(home: Path, databases: Databases) -> BrokerContents:
    return broker_contents.embedded(home / "broker.db", databases)


@pytest.mark.docker
@pytest.mark.timeout(600)
def test_a_message_that_kills_its_process_takes_no_neighbour_with_it(tmp_path: Path) -> None:
    need_docker()
    with running_environment(
        tmp_path, seed=1, processes=[("orders", False), (LOW_LIMIT_SERVICE, True)]
    ) as environment:
        place_orders(environment.databases["orders"], 60)
        poisonous = order(environment, f"{KILLS}{LOW_LIMIT_SERVICE}-1")
        last = order(environment, "ORD-last")

        eventually(lambda: handled(environment.databases, LOW_LIMIT_SERVICE) == 61, within=120)
        eventually(lambda: environment.dead_letter_ids(LOW_LIMIT_SERVICE) == [poisonous], within=60)

        state = environment.state()
        assert set(state.inbox[LOW_LIMIT_SERVICE]) == _placed(state) - {poisonous}
        assert last in state.inbox[LOW_LIMIT_SERVICE]  # and it was placed after the poison
        [process] = environment.supervisor.of(LOW_LIMIT_SERVICE)
        assert process.exit_codes.count(-signal.SIGKILL) >= 2
