"""What a consumer does without a connection; tests/contract has the rest."""

import time

from shared.messaging.ports.consumer import SLOW_START_AFTER, Delivery
from shared.messaging.rabbitmq.address import parse
from shared.messaging.rabbitmq.consumer import RabbitConsumer, _Token


def test_isolating_while_disconnected_returns_at_once_and_begins_slow_start_again() -> None:
    consumer = RabbitConsumer(
        parse("amqp://a:b@127.0.0.1"), "email", prefetch=10, slow_start=True, name="consumer"
    )
    consumer._successes = SLOW_START_AFTER
    lost = Delivery(
        queue="email", body=b"", event_id="", type="", attempt=2, replays=0, token=_Token(1, 1)
    )
    began = time.monotonic()

    consumer.isolate(lost)

    assert time.monotonic() - began < 1
    assert consumer._successes == 0
