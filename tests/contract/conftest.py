"""The broker that each conformance test runs on, once for each adapter."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.messaging.ports.broker import Broker
from tests.contract.brokers import EMBEDDED, RABBITMQ, AdjustableClock, BrokerUnderTest


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.docker)])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BrokerUnderTest]:
    if request.param == "embedded":
        url = f"embedded:{tmp_path / 'broker'}"
        target = BrokerUnderTest(url=url, timing=EMBEDDED, clock=AdjustableClock())
    else:
        vhost = request.getfixturevalue("rabbitmq_vhost")
        target = BrokerUnderTest(
            url=vhost.amqp_url, timing=RABBITMQ, admin_url=vhost.admin_url, user="admin"
        )
    with target.opened:
        yield target


@pytest.fixture
def broker(target: BrokerUnderTest) -> Broker:
    return target.set_up()
