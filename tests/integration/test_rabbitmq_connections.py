import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pika
import pytest

from shared.errors import BrokerRefused, BrokerTooOld, BrokerUnavailable, InvalidInput
from shared.messaging.ports.consumer import SLOW_START_AFTER, Outcome
from shared.messaging.rabbitmq import RabbitBroker, errors, publisher
from shared.messaging.rabbitmq.management import Management
from shared.messaging.topology import Queue, Topology
from tests.containers import ALLOW_PLAINTEXT, Vhost
from tests.contract.brokers import order_placed, receive, settle_all

_T = TypeVar("_T")
TOPOLOGY = Topology(queues=(Queue(name="email", topics=frozenset({"order.placed"})),))
SECRET = "hush/hush@%"  # noqa: S105 - nobody's


@pytest.fixture
def broker(rabbitmq_vhost: Vhost) -> Iterator[RabbitBroker]:
    # Its connections are named after the virtual host, so that a test finds its own.
    broker = RabbitBroker(
        rabbitmq_vhost.amqp_url, admin_url=rabbitmq_vhost.admin_url, app=rabbitmq_vhost.name
    )
    assert broker.set_up(TOPOLOGY) == []
    yield broker
    broker.close()


def until(query: Callable[[], _T | None], *, seconds: float = 15) -> _T:
    """The first truthy result."""
    deadline = time.monotonic() + seconds
    while not (result := query()):
        assert time.monotonic() < deadline, "no result in time"
    return result


def close_connections(vhost: Vhost, name: str) -> None:
    """Let the broker close the connections of this name, as an operator would."""
    management = Management(vhost.admin_url)

    def open_connections() -> list[str]:
        listed = management.get("connections") or []
        return [open_["name"] for open_ in listed if open_.get("user_provided_name") == name]

    for connection in until(open_connections):
        management.delete("connections", connection)


def test_closing_gracefully_counts_no_attempt(broker: RabbitBroker) -> None:
    broker.publisher().publish([order_placed() for _ in range(30)])
    consumer = broker.consumer("email", prefetch=10)
    for _ in range(SLOW_START_AFTER):
        settle_all(consumer, receive(consumer), Outcome.DONE)
    assert len(receive(consumer, 10)) == 10  # the whole prefetch, taken and unsettled

    consumer.close()

    second = broker.consumer("email", prefetch=1)
    attempts = []
    for _ in range(25):
        taken = receive(second)
        attempts += [delivery.attempt for delivery in taken]
        settle_all(second, taken, Outcome.DONE)
    assert attempts == [1] * 25


def test_a_consumer_reconnects_after_the_broker_closed_its_connection(
    broker: RabbitBroker, rabbitmq_vhost: Vhost
) -> None:
    broker.publisher().publish([message := order_placed()])
    consumer = broker.consumer("email", prefetch=1)
    before = receive(consumer)

    close_connections(rabbitmq_vhost, f"{rabbitmq_vhost.name} consumer of email")
    again = receive(consumer)
    settle_all(consumer, before, Outcome.DEAD)  # too late: its connection was closed
    settle_all(consumer, again, Outcome.DONE)

    assert [delivery.body for delivery in again] == [message.body]
    assert broker.consumer("email.dead", prefetch=1).take(1, wait=0.5) == []


def test_a_publisher_reconnects_after_the_broker_closed_its_connection(
    broker: RabbitBroker, rabbitmq_vhost: Vhost
) -> None:
    sending = broker.publisher()
    assert sending.publish([order_placed()]) == [None]

    close_connections(rabbitmq_vhost, f"{rabbitmq_vhost.name} publisher")

    assert sending.publish([order_placed() for _ in range(3)]) == [None] * 3


def test_publishing_to_a_full_queue_is_retried_and_then_fails(
    broker: RabbitBroker, rabbitmq_vhost: Vhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_UNAVAILABLE_TIMEOUT", 0.5)
    management = Management(rabbitmq_vhost.admin_url)
    full = {"pattern": "^email$", "apply-to": "queues", "definition": {"max-length": 1}}
    management.put("policies", rabbitmq_vhost.name, "full", content=full | {"priority": 99})
    sending = broker.publisher()

    def publishing_error() -> BrokerUnavailable | None:
        try:
            sending.publish([order_placed() for _ in range(5)])
        except BrokerUnavailable as error:
            return error
        return None

    assert "a queue is full" in str(until(publishing_error))
    management.delete("policies", rabbitmq_vhost.name, "full")
    until(lambda: publishing_error() is None)


def test_properties_of_any_type_are_delivered(broker: RabbitBroker, rabbitmq_vhost: Vhost) -> None:
    headers = {"x-delivery-count": "many", "shop-replays": {"a": [1, None]}}
    unusual = pika.BasicProperties(  # type: ignore[no-untyped-call]
        message_id="ä" * 100, headers=headers, timestamp=2**63
    )
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_vhost.amqp_url))
    connection.channel().basic_publish("events", "order.placed", b"\xff", unusual)
    connection.close()

    [taken] = receive(broker.consumer("email", prefetch=1))

    assert (taken.event_id, taken.type, taken.replays, taken.attempt) == ("ä" * 100, "", 0, 1)
    assert taken.body == b"\xff"


@pytest.mark.parametrize("forged", [10**9, 2**31 - 1, 5])
def test_a_count_of_failures_that_the_sender_has_set_is_not_used(
    broker: RabbitBroker, rabbitmq_vhost: Vhost, forged: int
) -> None:
    headers = {"x-delivery-count": forged, "x-acquired-count": forged}
    properties = pika.BasicProperties(headers=headers)  # type: ignore[no-untyped-call]
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_vhost.amqp_url))
    connection.channel().basic_publish("events", "order.placed", b"{}", properties)
    connection.close()
    consumer = broker.consumer("email", prefetch=1)

    def next_attempt(outcome: Outcome) -> int:
        [taken] = receive(consumer)
        consumer.settle([(taken, outcome)])
        return taken.attempt

    first = next_attempt(Outcome.REQUEUE)
    requeued = next_attempt(Outcome.RETRY)
    failed_once = next_attempt(Outcome.DONE)

    assert first == 1
    assert requeued <= 2  # the sender's count remains until the broker has set its own
    assert failed_once == 2


def test_a_wrong_password_is_one_sentence_that_does_not_repeat_it(rabbitmq_vhost: Vhost) -> None:
    broker = RabbitBroker(rabbitmq_vhost.as_user("admin", SECRET))
    reason = "refuses the user 'admin' or its password$"

    with pytest.raises(BrokerRefused, match=reason) as probed:
        broker.probe()
    with pytest.raises(BrokerRefused, match=reason) as published:
        broker.publisher().publish([order_placed()])
    with pytest.raises(BrokerRefused, match=reason) as taken:
        broker.consumer("email", prefetch=1).take(1, wait=15)

    assert not any(SECRET in str(raised.value) for raised in (probed, published, taken))


def test_a_process_with_a_wrong_password_ends_with_the_reason(
    rabbitmq_vhost: Vhost, tmp_path: Path
) -> None:
    url = rabbitmq_vhost.as_user("admin", SECRET)
    environment = os.environ | {
        "SHOP_HOME": str(tmp_path),
        "SHOP_BROKER_URL": url,
        "SHOP_ALLOW_PLAINTEXT": str(ALLOW_PLAINTEXT),
    }

    ended = subprocess.run(
        [sys.executable, "-m", "shop.cli", "run", "email"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert "refuses the user 'admin' or its password" in ended.stdout + ended.stderr
    assert SECRET not in ended.stdout + ended.stderr


def test_a_missing_virtual_host_is_named(rabbitmq_vhost: Vhost) -> None:
    with pytest.raises(BrokerRefused, match="has no virtual host 'nowhere' for the user 'admin'"):
        RabbitBroker(rabbitmq_vhost.amqp_url.rpartition("/")[0] + "/nowhere").probe()


def test_a_broker_that_is_too_old_is_refused_by_every_operation(
    broker: RabbitBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "OLDEST_VERSION", (99, 0, 1))
    reason = r"the broker is RabbitMQ 4\.3\.\d+; RabbitMQ 99\.0\.1 or newer is needed"

    with pytest.raises(BrokerTooOld, match=reason):
        broker.set_up(TOPOLOGY)
    with pytest.raises(BrokerTooOld, match=reason):
        broker.publisher().publish([order_placed()])
    [difference] = broker.check(TOPOLOGY)
    assert re.fullmatch(reason, difference)


def test_a_port_without_a_broker_cannot_be_reached() -> None:
    broker = RabbitBroker("amqp://admin:hush@127.0.0.1:1")

    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1 cannot be reached") as raised:
        broker.probe()

    assert not isinstance(raised.value, BrokerRefused)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "amqp",
        "http://a:hush@b",
        "amqp://:::",
        "amqp://a:hush@b:port",
        "amqp://a:hush@b/v?x=hush",
    ],
)
def test_an_invalid_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidInput, match="should look like amqp://") as raised:
        RabbitBroker(url)

    assert "hush" not in str(raised.value)
