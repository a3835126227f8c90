from dataclasses import replace
from typing import Any

import pytest

from shared.errors import BrokerRefused
from shared.messaging.rabbitmq import RabbitBroker
from shared.messaging.rabbitmq.management import Management
from shared.messaging.topology import Queue, Retry, Topology
from tests.containers import Vhost

EMAIL = Queue(name="email", topics=frozenset({"order.placed", "order.shipped"}))
LOYALTY = Queue(
    name="loyalty", topics=frozenset({"order.placed"}), retry=Retry(delay=0.1, max_retries=3)
)
TOPOLOGY = Topology(queues=(EMAIL, LOYALTY))


@pytest.fixture
def management(rabbitmq_vhost: Vhost) -> Management:
    return Management(rabbitmq_vhost.admin_url)


@pytest.fixture
def broker(rabbitmq_vhost: Vhost) -> RabbitBroker:
    return RabbitBroker(rabbitmq_vhost.amqp_url, admin_url=rabbitmq_vhost.admin_url)


def declared(management: Management, vhost: str) -> dict[str, list[Any]]:
    """What set-up declares, without statistics."""
    queues = management.get("queues", vhost)
    return {
        "exchanges": [exchange["name"] for exchange in management.get("exchanges", vhost)],
        "queues": [(queue["name"], queue["arguments"]) for queue in queues],
        "bindings": management.get("bindings", vhost),
        "policies": management.get("policies", vhost),
    }


def test_set_up_again_changes_nothing(
    broker: RabbitBroker, management: Management, rabbitmq_vhost: Vhost
) -> None:
    assert broker.set_up(TOPOLOGY) == []
    before = declared(management, rabbitmq_vhost.name)

    assert broker.set_up(TOPOLOGY) == []

    assert declared(management, rabbitmq_vhost.name) == before
    assert broker.check(TOPOLOGY) == []


def test_set_up_removes_stale_bindings_of_services_only(
    broker: RabbitBroker, management: Management, rabbitmq_vhost: Vhost
) -> None:
    broker.set_up(TOPOLOGY)
    management.put("queues", rabbitmq_vhost.name, "watching", content={"durable": True})
    path = ("bindings", rabbitmq_vhost.name, "e", "events", "q", "watching")
    management._request("POST", path, {"routing_key": "#"})

    broker.set_up(Topology(queues=(replace(EMAIL, topics=frozenset({"order.placed"})),)))

    bindings = management.get("exchanges", rabbitmq_vhost.name, "events", "bindings", "source")
    assert sorted((binding["destination"], binding["routing_key"]) for binding in bindings) == [
        ("email", "order.placed"),
        ("history", "#"),
        ("watching", "#"),  # declared by a person
    ]


def test_set_up_changes_the_tuning_of_existing_queues(broker: RabbitBroker) -> None:
    broker.set_up(TOPOLOGY)
    slower = Topology(queues=(EMAIL, replace(LOYALTY, retry=Retry(delay=10, max_retries=30))))
    assert broker.check(slower) == [
        "the policy shop-loyalty has delayed-retry-min = 100, it should be 10000",
        "the policy shop-loyalty has delivery-limit = 3, it should be 30",
    ]

    broker.set_up(slower)

    assert broker.check(slower) == []


@pytest.mark.parametrize(
    ("path", "difference"),
    [
        pytest.param(
            ("bindings", "{vhost}", "e", "events", "q", "email", "order.placed"),
            "the binding of email to events by order.placed is missing",
            id="binding",
        ),
        pytest.param(
            ("policies", "{vhost}", "shop-email"), "the policy shop-email is missing", id="policy"
        ),
        pytest.param(
            ("exchanges", "{vhost}", "replays"), "the exchange replays is missing", id="exchange"
        ),
        pytest.param(
            ("queues", "{vhost}", "email.dead"), "the queue email.dead is missing", id="queue"
        ),
    ],
)
def test_a_check_names_what_was_deleted(
    broker: RabbitBroker,
    management: Management,
    rabbitmq_vhost: Vhost,
    path: tuple[str, ...],
    difference: str,
) -> None:
    broker.set_up(TOPOLOGY)

    management.delete(*(part.format(vhost=rabbitmq_vhost.name) for part in path))

    assert difference in broker.check(TOPOLOGY)
    broker.set_up(TOPOLOGY)
    assert broker.check(TOPOLOGY) == []


def test_a_queue_with_other_properties_is_named(
    broker: RabbitBroker, management: Management, rabbitmq_vhost: Vhost
) -> None:
    management.put("queues", rabbitmq_vhost.name, "email", content={"durable": True})

    with pytest.raises(BrokerRefused, match="the queue email exists with other properties"):
        broker.set_up(TOPOLOGY)


def test_no_queue_is_declared_before_its_policy(
    broker: RabbitBroker, rabbitmq_vhost: Vhost, management: Management
) -> None:
    """Otherwise the first message could fail without a delay and a limit."""
    unknown_user = rabbitmq_vhost.admin_url.replace("admin:", "stranger:")

    with pytest.raises(BrokerRefused, match="refuses the user"):
        RabbitBroker(rabbitmq_vhost.amqp_url, admin_url=unknown_user).set_up(TOPOLOGY)

    assert management.get("queues", rabbitmq_vhost.name) == []
    assert broker.set_up(TOPOLOGY) == []


def test_set_up_without_the_management_api_reports_what_it_skipped(
    rabbitmq_vhost: Vhost,
) -> None:
    skipped = RabbitBroker(rabbitmq_vhost.amqp_url).set_up(TOPOLOGY)

    assert len(skipped) == 2
    assert all("SHOP_BROKER_ADMIN_URL" in sentence for sentence in skipped)


def test_a_check_without_the_management_api_finds_missing_queues(
    rabbitmq_vhost: Vhost,
) -> None:
    broker = RabbitBroker(rabbitmq_vhost.amqp_url)
    broker.set_up(Topology(queues=(EMAIL,)))

    assert broker.check(TOPOLOGY) == [
        "the queue loyalty.dead is missing",
        "the queue loyalty is missing",
    ]
