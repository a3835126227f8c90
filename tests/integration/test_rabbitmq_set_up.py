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


def seen(management: Management, vhost: str) -> dict[str, list[Any]]:
    """What set-up makes, without the figures that change by themselves."""
    return {
        "exchanges": [each["name"] for each in management.get("exchanges", vhost)],
        "queues": [(each["name"], each["arguments"]) for each in management.get("queues", vhost)],
        "bindings": management.get("bindings", vhost),
        "policies": management.get("policies", vhost),
    }


def test_set_up_again_changes_nothing(
    broker: RabbitBroker, management: Management, rabbitmq_vhost: Vhost
) -> None:
    assert broker.set_up(TOPOLOGY) == []
    before = seen(management, rabbitmq_vhost.name)

    assert broker.set_up(TOPOLOGY) == []

    assert seen(management, rabbitmq_vhost.name) == before
    assert broker.check(TOPOLOGY) == []


def test_set_up_unbinds_what_no_service_wants_any_more(
    broker: RabbitBroker, management: Management, rabbitmq_vhost: Vhost
) -> None:
    broker.set_up(TOPOLOGY)
    management.put("queues", rabbitmq_vhost.name, "looking", content={"durable": True})
    place = ("bindings", rabbitmq_vhost.name, "e", "events", "q", "looking")
    management.post(*place, content={"routing_key": "#"})

    broker.set_up(Topology(queues=(replace(EMAIL, topics=frozenset({"order.placed"})),)))

    left = management.get("exchanges", rabbitmq_vhost.name, "events", "bindings", "source")
    assert sorted((each["destination"], each["routing_key"]) for each in left) == [
        ("email", "order.placed"),
        ("history", "#"),
        ("looking", "#"),  # a person's own: not ours to unbind
    ]


def test_set_up_changes_the_tuning_of_queues_that_are_there(broker: RabbitBroker) -> None:
    broker.set_up(TOPOLOGY)
    slower = Topology(queues=(EMAIL, replace(LOYALTY, retry=Retry(delay=10, max_retries=30))))
    assert broker.check(slower) == [
        "the policy shop-loyalty has delayed-retry-min = 100, it should be 10000",
        "the policy shop-loyalty has delivery-limit = 3, it should be 30",
    ]

    broker.set_up(slower)

    assert broker.check(slower) == []


@pytest.mark.parametrize(
    ("path", "finding"),
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
    finding: str,
) -> None:
    broker.set_up(TOPOLOGY)

    management.delete(*(each.format(vhost=rabbitmq_vhost.name) for each in path))

    assert finding in broker.check(TOPOLOGY)
    broker.set_up(TOPOLOGY)
    assert broker.check(TOPOLOGY) == []


def test_a_queue_made_otherwise_is_named(
    broker: RabbitBroker, management: Management, rabbitmq_vhost: Vhost
) -> None:
    management.put("queues", rabbitmq_vhost.name, "email", content={"durable": True})

    with pytest.raises(BrokerRefused, match="the queue email is there, but made otherwise"):
        broker.set_up(TOPOLOGY)


def test_without_its_policy_no_queue_is_made(
    broker: RabbitBroker, rabbitmq_vhost: Vhost, management: Management
) -> None:
    """Else the first message could fail without a delay, and without a limit."""
    stranger = rabbitmq_vhost.admin_url.replace("admin:", "stranger:")

    with pytest.raises(BrokerRefused, match="refuses the user"):
        RabbitBroker(rabbitmq_vhost.amqp_url, admin_url=stranger).set_up(TOPOLOGY)

    assert management.get("queues", rabbitmq_vhost.name) == []
    assert broker.set_up(TOPOLOGY) == []


def test_without_the_management_api_set_up_says_what_it_left(rabbitmq_vhost: Vhost) -> None:
    left = RabbitBroker(rabbitmq_vhost.amqp_url).set_up(TOPOLOGY)

    assert len(left) == 2
    assert all("SHOP_BROKER_ADMIN_URL" in each for each in left)


def test_without_the_management_api_a_check_still_misses_queues(rabbitmq_vhost: Vhost) -> None:
    broker = RabbitBroker(rabbitmq_vhost.amqp_url)
    broker.set_up(Topology(queues=(EMAIL,)))

    assert broker.check(TOPOLOGY) == [
        "the queue loyalty.dead is missing",
        "the queue loyalty is missing",
    ]
