"""Looking how long the first event of a queue has waited changes nothing, on every broker."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shared.messaging.codec import message_of
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.consumer import SLOW_START_AFTER
from shared.operations.service_checks import oldest_age
from tests.contract.brokers import receive, send
from tests.support.order_events import placed


def test_looking_at_the_first_event_counts_no_attempt_and_keeps_the_order(broker: Broker) -> None:
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    first = placed().model_copy(update={"occurred_at": an_hour_ago})
    second = placed("ORD-2")
    send(broker, message_of(first, source="orders"), message_of(second, source="orders"))

    ages = [oldest_age(broker, "inventory") for _ in range(30)]

    assert all(age is not None and 3600 <= age < 3700 for age in ages)
    consumer = broker.consumer("inventory", prefetch=SLOW_START_AFTER, slow_start=False)
    deliveries = receive(consumer, 2)
    assert [(each.event_id, each.attempt) for each in deliveries] == [
        (str(first.event_id), 1),
        (str(second.event_id), 1),
    ]


def test_an_empty_queue_and_a_replayed_event_have_no_age(broker: Broker) -> None:
    assert oldest_age(broker, "inventory") is None
    send(broker, replace(message_of(placed(), source="orders"), only_to="inventory"))

    assert oldest_age(broker, "inventory") is None
