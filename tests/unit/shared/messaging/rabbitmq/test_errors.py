import pytest

from shared.errors import BrokerTooOld
from shared.messaging.rabbitmq.errors import supported_version


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
