"""Every service tries everything at the broker, and may do what it declares and nothing else."""

from collections.abc import Callable, Iterator
from itertools import product

import pika
import pytest
from pika.exceptions import ProbableAccessDeniedError

from shared.errors import BrokerRefused
from shared.events import concrete_types
from shared.messaging.topology import EVENTS, HISTORY, Queue
from shared.runtime.settings import OPERATOR
from shop import registry
from tests.containers import RabbitServer
from tests.security.attempts import READING_HISTORY, attempts_of, what_is_allowed
from tests.security.every_service import (
    CONTRACTS,
    QUEUES,
    SERVICES,
    TOPICS,
    Granted,
    SampleMade,
    granted,
)

EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}
"""Permissions."""


@pytest.fixture(scope="module")
def broker(rabbitmq_server: RabbitServer) -> Iterator[Granted]:
    with granted(rabbitmq_server) as broker:
        yield broker


@pytest.mark.parametrize("name", QUEUES)
def test_a_service_may_do_what_it_declares_and_nothing_else(broker: Granted, name: str) -> None:
    attempts = list(attempts_of(QUEUES[name]))

    allowed = what_is_allowed(attempts, broker.url(name))

    assert allowed == {each.what for each in attempts if each.is_declared}
    assert any(each.is_declared for each in attempts)


def test_the_operator_reads_the_history_and_may_do_nothing_else(broker: Granted) -> None:
    nobody = Queue(name=OPERATOR, topics=frozenset())
    attempts = list(attempts_of(nobody))

    allowed = what_is_allowed(attempts, broker.url(OPERATOR))

    assert allowed == READING_HISTORY


def test_every_pair_of_a_service_and_an_event_type_is_tried() -> None:
    tried = {name: {each.what for each in attempts_of(QUEUES[name])} for name in QUEUES}

    assert set(QUEUES) == {*registry.names(), "made_up"}
    assert {"order.placed", SampleMade.topic} <= set(TOPICS)
    for name, topic in product(QUEUES, TOPICS):
        assert {f"publish {topic} to {EVENTS}", f"bind own queue to {EVENTS} by {topic}"} <= tried[
            name
        ]


def test_each_type_is_published_by_the_services_that_it_names() -> None:
    ours = {each.topic for each in concrete_types() if each.__module__.startswith("shared.events.")}
    publishing = {
        contract: {name for name, each in SERVICES.items() if contract in each.publishes}
        for contract in CONTRACTS
    }

    assert ours <= set(TOPICS), "nobody publishes a type, so nobody tries it"
    assert {each: set(each.publishers) for each in CONTRACTS} == publishing


@pytest.mark.parametrize("name", QUEUES)
def test_a_service_reads_the_history_only_while_that_is_granted(broker: Granted, name: str) -> None:
    attempts = list(attempts_of(QUEUES[name]))
    declared = {each.what for each in attempts if each.is_declared}
    reading = [each for each in attempts if HISTORY in each.what]

    broker.grant(name)
    while_granted = what_is_allowed(reading, broker.url(name))
    broker.grant()
    afterwards = what_is_allowed(reading, broker.url(name))

    assert while_granted == READING_HISTORY
    assert afterwards == set()
    assert not READING_HISTORY & declared


@pytest.mark.parametrize("name", QUEUES)
def test_no_service_uses_the_management_api(broker: Granted, name: str) -> None:
    management = broker.management(name)
    vhost = broker.vhost.name
    requests: list[Callable[[], object]] = [
        lambda: management.get("whoami"),
        lambda: management.get("queues", vhost),
        lambda: management.get("bindings", vhost),
        lambda: management.get("connections"),
        lambda: management.get("definitions"),
        lambda: management.put("users", name, content={"password": "x", "tags": "administrator"}),
        lambda: management.put("permissions", vhost, name, content=EVERYTHING),
        lambda: management.delete("topic-permissions", vhost, name),
        lambda: management.delete("user-limits", name, "max-connections"),
        lambda: management.put("policies", vhost, "x", content={"pattern": "", "definition": {}}),
        lambda: management.delete("queues", vhost, "orders"),
        lambda: management.put("vhosts", "mine"),
    ]

    for request in requests:
        with pytest.raises(BrokerRefused, match="refuses the user"):
            request()


def test_the_operator_changes_nothing_through_the_management_api(broker: Granted) -> None:
    management = broker.management(OPERATOR)
    vhost = broker.vhost.name
    requests: list[Callable[[], object]] = [
        lambda: management.put("users", OPERATOR, content={"password": "x", "tags": ""}),
        lambda: management.put("permissions", vhost, OPERATOR, content=EVERYTHING),
        lambda: management.put("policies", vhost, "x", content={"pattern": "", "definition": {}}),
        lambda: management.delete("user-limits", "orders", "max-connections"),
        lambda: management.delete("queues", vhost, "orders"),
        lambda: management.delete("bindings", vhost, "e", EVENTS, "q", HISTORY, "%23"),
        lambda: management.put("vhosts", "mine"),
        lambda: management.get("users"),
    ]

    for request in requests:
        with pytest.raises(BrokerRefused, match=r"refuses|answers 40"):
            request()


@pytest.mark.parametrize("name", [*QUEUES, OPERATOR])
def test_no_user_opens_another_virtual_host(broker: Granted, name: str) -> None:
    parameters = pika.URLParameters(broker.url(name))
    parameters.virtual_host = "/"

    with pytest.raises(ProbableAccessDeniedError):
        pika.BlockingConnection(parameters)
