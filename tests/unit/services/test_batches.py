"""A service's state is the same whether events are handled as a batch or one by one."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import MetaData, select

from services.inventory import tables as inventory_tables
from services.inventory.service import inventory
from services.loyalty import tables as loyalty_tables
from services.loyalty.service import loyalty
from services.shipping import tables as shipping_tables
from services.shipping.service import shipping
from shared.events import DomainEvent
from shared.runtime.service import AnyService
from shared.testing import Stage
from tests.support.arrivals import Arrival, arrivals, play
from tests.support.order_events import a_new_order

Stages = dict[str, tuple[Stage, Stage]]

SERVICES: list[tuple[AnyService, MetaData]] = [
    (inventory, inventory_tables.metadata),
    (shipping, shipping_tables.metadata),
    (loyalty, loyalty_tables.metadata),
]

ORDERED = ({"product-1": 1}, {"product-2": 1, "product-1": 2}, {"product-3": 2, "product-1": 1})


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    made = {
        service.name: (
            Stage(tmp_path_factory.mktemp("batch"), [service]),
            Stage(tmp_path_factory.mktemp("singly"), [service]),
        )
        for service, _ in SERVICES
    }
    yield made
    for pair in made.values():
        for stage in pair:
            stage.close()


@st.composite
def interleaved(draw: st.DrawFn) -> list[tuple[int, Arrival, str]]:
    """The events of several orders, interleaved; those of one order stay in sequence."""
    orders = list(enumerate(draw(st.lists(arrivals(), min_size=2, max_size=8))))
    turns = draw(st.permutations([number for number, each in orders for _ in each.kinds]))
    remaining = {number: iter(each.kinds) for number, each in orders}
    return [(number, orders[number][1], next(remaining[number])) for number in turns]


@pytest.mark.parametrize(
    ("service", "metadata"), SERVICES, ids=lambda value: getattr(value, "name", "")
)
@settings(max_examples=12, deadline=None)
@given(arrived=interleaved())
def test_a_batch_has_the_same_effects_as_its_events_one_by_one(
    stages: Stages,
    service: AnyService,
    metadata: MetaData,
    arrived: list[tuple[int, Arrival, str]],
) -> None:
    batch, singly = stages[service.name]
    events = events_of(arrived)

    batch_events = play(batch, events, as_batch=True)
    single_events = play(singly, events, as_batch=False)

    assert rows(batch, service, metadata) == rows(singly, service, metadata)
    assert [content(each) for each in batch_events] == [content(each) for each in single_events]


def events_of(arrived: list[tuple[int, Arrival, str]]) -> list[DomainEvent]:
    facts = {
        number: arrival.facts(a_new_order(), items=ORDERED[number % len(ORDERED)])
        for number, arrival in {number: arrival for number, arrival, _ in arrived}.items()
    }
    return [facts[number][kind] for number, _, kind in arrived]


def rows(stage: Stage, service: AnyService, metadata: MetaData) -> dict[str, list[dict[str, Any]]]:
    """All rows, without the times of shipping, which differ."""
    with stage.store(service.name) as store:
        return {
            table.name: [
                {name: value for name, value in row.items() if name != "shipped_at"}
                for row in store.connection.execute(
                    select(table).order_by(*table.primary_key)
                ).mappings()
            ]
            for table in metadata.sorted_tables
        }


def content(event: DomainEvent) -> dict[str, Any]:
    return event.model_dump(mode="json", exclude={"event_id", "occurred_at"}) | {"type": event.type}
