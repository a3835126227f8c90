"""Processes that are restarted, or die of a message, under a backlog."""

import signal
from pathlib import Path

import pytest
from sqlalchemy import func, select

from services.orders.paying import Payment, pay_order
from services.orders.placing import NewOrder, place_order
from services.orders.service import orders
from shared.storage.tables import failures, inbox
from tests.chaos import laws
from tests.chaos.failing import KILLS
from tests.chaos.faults import order
from tests.chaos.site import LIMITED, Site, site
from tests.containers import _need_docker
from tests.support.waiting import eventually

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

RESTARTS = 25
BACKLOG = 1500


def fill(here: Site, count: int) -> None:
    """A backlog for every service."""
    for number in range(0, count, 100):
        with orders.unit_of_work(here.databases["orders"]) as work:
            for each in range(number, number + 100):
                new = NewOrder(
                    order_id=f"ORD-{each}",
                    customer_email="a@b.example",
                    shipping_address="here",
                    items={"product-1": 1},
                )
                total = place_order(new, work).total_amount
                work.store.flush()
                payment = Payment(order_id=new.order_id, amount=total)
                pay_order(payment, work)


def handled(here: Site, service: str) -> int:
    with here.databases[service].read() as connection:
        return connection.execute(select(func.count()).select_from(inbox)).scalar_one()


def failed(here: Site, service: str) -> list[tuple[str, str]]:
    with here.databases[service].read() as connection:
        rows = connection.execute(select(failures.c.event_id, failures.c.error)).all()
    return [(row.event_id, row.error) for row in rows]


def test_twenty_five_rolling_restarts_burn_no_attempt(tmp_path: Path) -> None:
    _need_docker()
    crew = [(name, False) for name in ("orders", "inventory-1", "inventory-2", "shipping", "email")]
    with site(tmp_path, seed=1, crew=[*crew, ("analytics", False), ("loyalty", False)]) as here:
        fill(here, BACKLOG)
        rolling = [each for each in here.crew.members.values() if each.name != "orders"]
        eventually(lambda: all(handled(here, each.service) for each in rolling))

        hit = 0
        for number in range(RESTARTS):
            member = rolling[number % len(rolling)]
            hit += here.unacknowledged(member.service) > 0
            assert here.crew.end(member, signal.SIGTERM) == 0

        evidence = here.comes_to_rest()
        assert laws.breaches(evidence) == []
        assert hit >= RESTARTS / 2  # a backlog there was
        assert {name: failed(here, name) for name in here.databases if failed(here, name)} == {}
        assert not any(evidence.held.dead.values())


def test_a_message_that_kills_its_process_takes_no_neighbour_with_it(tmp_path: Path) -> None:
    _need_docker()
    with site(tmp_path, seed=1, crew=[("orders", False), (LIMITED, True)]) as here:
        fill(here, 60)
        poisonous = order(here, f"{KILLS}{LIMITED}-1")
        fill_more = order(here, "ORD-last")

        eventually(lambda: handled(here, LIMITED) == 61, within=120)
        eventually(lambda: _queue_is_empty(here), within=60)

        evidence = here.evidence()
        assert evidence.held.dead[LIMITED] == [poisonous]
        assert fill_more in evidence.inbox[LIMITED]
        [member] = here.crew.of(LIMITED)
        assert member.codes.count(-signal.SIGKILL) >= 2


def _queue_is_empty(here: Site) -> bool:
    return bool(here.management.get("queues", "/", LIMITED)["messages"] == 0)
