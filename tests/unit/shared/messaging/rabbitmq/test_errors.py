import pytest
from pika.exceptions import ConnectionClosedByBroker, ProbableAccessDeniedError

from shared.errors import BrokerRefused, BrokerTooOld, BrokerUnavailable
from shared.messaging.rabbitmq.address import parse
from shared.messaging.rabbitmq.errors import broker_error, supported_version

ADDRESS = parse("amqp://email:hush@rabbitmq:5672/")
NO_MORE_CONNECTIONS = ConnectionClosedByBroker(
    530,
    "NOT_ALLOWED - access to vhost '/' refused for user 'email': "
    "user connection limit (64) is reached",
)
NO_MORE_CHANNELS = ConnectionClosedByBroker(
    530,
    "NOT_ALLOWED - number of channels opened for user 'email' has reached the maximum allowed "
    "user limit of 256",
)


@pytest.mark.parametrize("version", ["4.3.1", b"4.3.10", "4.10.0-rc.1", "5.0.0"])
def test_a_version_with_delayed_retry_is_supported(version: str | bytes) -> None:
    text = version.decode() if isinstance(version, bytes) else version

    assert supported_version({"product": "RabbitMQ", "version": version}) == f"RabbitMQ {text}"


@pytest.mark.parametrize(
    ("properties", "name"),
    [
        pytest.param({"product": "RabbitMQ", "version": "4.3.0"}, "RabbitMQ 4.3.0", id="older"),
        pytest.param({"product": "RabbitMQ", "version": "4"}, "RabbitMQ 4", id="incomplete"),
        pytest.param({"product": "LavinMQ", "version": "9.9.9"}, "LavinMQ 9.9.9", id="product"),
        pytest.param({}, "unknown unknown", id="no-properties"),
        pytest.param(None, "unknown unknown", id="none"),
    ],
)
def test_another_broker_is_refused_by_name(properties: dict[str, object] | None, name: str) -> None:
    needed = f"the broker is {name}; RabbitMQ 4.3.1 or newer is needed"

    with pytest.raises(BrokerTooOld) as raised:
        supported_version(properties)

    assert str(raised.value) == needed


@pytest.mark.parametrize(
    "error",
    [
        # pika wraps what closes a connection while it is opened.
        pytest.param(ProbableAccessDeniedError(repr(NO_MORE_CONNECTIONS)), id="connections"),
        pytest.param(NO_MORE_CHANNELS, id="channels"),
    ],
)
def test_a_user_at_its_limit_may_connect_later(error: Exception) -> None:
    found = broker_error(error, ADDRESS)

    assert type(found) is BrokerUnavailable
    assert str(found) == (
        "the broker at rabbitmq:5672 allows the user 'email' no more connections or channels: "
        "end the processes that hold them"
    )


def test_a_missing_virtual_host_is_a_refusal() -> None:
    error = ConnectionClosedByBroker(530, "NOT_ALLOWED - vhost 'limit (1) of' not found")

    assert type(broker_error(ProbableAccessDeniedError(repr(error)), ADDRESS)) is BrokerRefused
