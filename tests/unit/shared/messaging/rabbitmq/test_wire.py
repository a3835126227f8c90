import pytest
from pika import spec
from pika.compat import long

from shared.messaging.rabbitmq.wire import delivery


@pytest.mark.parametrize(
    ("count", "attempt"),
    [
        pytest.param(3, 4, id="int"),
        pytest.param(long(3), 4, id="pikas-long"),
        pytest.param(True, 1, id="bool"),
        pytest.param(-1, 1, id="negative"),
        pytest.param(2**40, 1, id="too-large"),
        pytest.param("3", 1, id="text"),
        pytest.param(None, 1, id="missing"),
    ],
)
def test_the_attempt_follows_from_the_brokers_counts(count: object, attempt: int) -> None:
    headers = {"x-delivery-count": count, "x-acquired-count": long(9)}
    properties = spec.BasicProperties(headers=headers)  # type: ignore[no-untyped-call]

    method = spec.Basic.Deliver(redelivered=True)  # type: ignore[no-untyped-call]
    arrived = delivery("email", method, properties, b"{}", token=1)

    assert arrived.attempt == attempt
