"""Processes that are restarted, or die of a message, under a backlog."""

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
from tests.chaos import holdings, laws
from tests.chaos.crew import Crew, Member
from tests.chaos.evidence import Evidence, Held, World, gathered
from tests.chaos.failing import KILLS
from tests.chaos.message_faults import order
from tests.chaos.moments import dead_ids
from tests.chaos.site import LIMITED, SHOP, site
from tests.containers import need_docker
from tests.support.waiting import eventually

RESTARTS = 25
BACKLOG, MORE = 100, 20
"""Orders at first, and before each restart."""

RESTOCKED = 1000

Databases = Mapping[str, Database]


def fill(database: Database, count: int) -> None:
    """A backlog for every service: so many orders, all of them paid."""
    for number in range(0, count, 100):
        with orders.unit_of_work(database) as work:
            for _ in range(number, min(number + 100, count)):
                new = NewOrder(
                    customer_email="a@b.example",
                    shipping_address="here",
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
    """Every failed attempt on record, in whatever service."""
    found: list[str] = []
    for name, database in databases.items():
        with database.read() as connection:
            errors = connection.execute(select(failures.c.event_id, failures.c.error))
            found += [f"{name}: {row.event_id} {row.error}" for row in errors]
    return found


def roll(
    crew: Crew,
    times: int,
    *,
    held: Callable[[Member], AbstractContextManager[None]],
    give: Callable[[], None],
    is_at_work: Callable[[Member], bool],
) -> None:
    """Stop one after the other in good order, each while it has something to do.

    Args:
        held: what is done with it until it is seen to have something to do.
    """
    # Orders alone relays what is given; frozen, it would leave nobody anything to do.
    members = [each for each in crew.members.values() if each.service != "orders"]
    for number in range(times):
        member = members[number % len(members)]
        eventually(partial(_has_started, member), within=60)
        with held(member):
            give()
            eventually(partial(is_at_work, member))
            assert crew.end(member, signal.SIGTERM) == 0


@pytest.mark.docker
@pytest.mark.timeout(300)
def test_twenty_five_rolling_restarts_burn_no_attempt(tmp_path: Path) -> None:
    need_docker()
    names = ("orders", "inventory-1", "inventory-2", "shipping", "email", "analytics", "loyalty")
    with site(tmp_path, seed=1, crew=[(name, False) for name in names]) as here:
        fill(here.databases["orders"], BACKLOG)

        roll(
            here.crew,
            RESTARTS,
            held=here.crew.frozen,
            give=lambda: fill(here.databases["orders"], MORE),
            is_at_work=lambda member: here.unacknowledged(member.service) > 0,
        )

        evidence = here.comes_to_rest()
        assert laws.breaches(evidence) == []
        assert failed(here.databases) == []
        assert not any(evidence.held.dead.values())


@pytest.mark.timeout(240)
def test_rolling_restarts_of_the_embedded_shop_burn_no_attempt(tmp_path: Path) -> None:
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
        fill(databases["orders"], BACKLOG)
        crew = Crew(
            [
                Member(
                    name=name,
                    service=name,
                    command=[str(SHOP), "run", name],
                    environment=environment,
                    log=tmp_path / f"{name}.log",
                )
                for name in registry.names()
            ]
        )
        crew.start()
        stack.callback(crew.stop)

        roll(
            crew,
            len(crew.members),
            held=lambda _: nullcontext(),  # frozen it might keep the broker's file locked for all
            give=lambda: fill(databases["orders"], MORE),
            is_at_work=lambda _: bool(_held(tmp_path, databases).left),
        )

        world = World(restocked={"product-1": RESTOCKED})
        eventually(
            lambda: not laws.breaches(gathered(databases, _held(tmp_path, databases), world)),
            within=90,
        )
        assert failed(databases) == []


def _has_started(member: Member) -> bool:
    """Before, it has no handler for SIGTERM, and nothing to hand back."""
    return member.log.read_text().count('"event": "started"') == member.started


def _placed(evidence: Evidence) -> set[str]:
    return {each.event_id for each in evidence.said if each.topic == "order.placed"}


def _held(home: Path, databases: Databases) -> Held:
    return holdings.embedded(home / "broker.db", databases)


@pytest.mark.docker
@pytest.mark.timeout(300)
def test_a_message_that_kills_its_process_takes_no_neighbour_with_it(tmp_path: Path) -> None:
    need_docker()
    with site(tmp_path, seed=1, crew=[("orders", False), (LIMITED, True)]) as here:
        fill(here.databases["orders"], 60)
        poisonous = order(here, f"{KILLS}{LIMITED}-1")
        last = order(here, "ORD-last")

        eventually(lambda: handled(here.databases, LIMITED) == 61, within=120)
        eventually(lambda: dead_ids(here, LIMITED) == [poisonous], within=60)

        evidence = here.evidence()
        assert set(evidence.inbox[LIMITED]) == _placed(evidence) - {poisonous}
        assert last in evidence.inbox[LIMITED]  # and it was placed after the poison
        [member] = here.crew.of(LIMITED)
        assert member.codes.count(-signal.SIGKILL) >= 2
