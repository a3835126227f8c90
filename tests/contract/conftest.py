"""The place that every conformance test runs in, once per kind of broker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.messaging.ports.broker import Broker
from tests.contract.places import EMBEDDED, RABBITMQ, Place, TurnedClock


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.docker)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "embedded":
        here = Place(url=f"embedded:{tmp_path / 'broker'}", traits=EMBEDDED, clock=TurnedClock())
    else:
        vhost = request.getfixturevalue("rabbitmq_vhost")
        here = Place(url=vhost.amqp_url, traits=RABBITMQ, admin_url=vhost.admin_url)
    with here.opened:
        yield here


@pytest.fixture
def broker(place: Place) -> Broker:
    return place.broker()
