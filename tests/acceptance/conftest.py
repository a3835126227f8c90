"""The whole shop at work in this process, once per kind of broker."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from shared.runtime.service import AnyService
from shared.runtime.settings import settings_override
from shop import registry
from tests.acceptance.shop import Shop, at_work

Opening = Callable[..., AbstractContextManager[Shop]]


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.docker)])
def open_shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opening]:
    """Opens the shop: its own services, and those that a test adds."""
    broker = {}
    if request.param == "rabbitmq":
        vhost = request.getfixturevalue("rabbitmq_vhost")
        broker = {"broker_url": vhost.amqp_url, "broker_admin_url": vhost.admin_url}

    def opening(*more: AnyService) -> AbstractContextManager[Shop]:
        return at_work([*registry.all_services(), *more], tmp_path / "log")

    with settings_override(home=tmp_path, **broker):
        yield opening
