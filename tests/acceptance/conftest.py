"""All services running in this process, once for each kind of broker."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from shared.runtime.service import AnyService
from shared.runtime.settings import settings_override
from shop import registry
from tests.acceptance.shop import RunningShop, run_services

Opening = Callable[..., AbstractContextManager[RunningShop]]


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.docker)])
def open_shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opening]:
    """Starts all services, and those that a test adds."""
    broker: dict[str, object] = {}
    if request.param == "rabbitmq":
        broker = request.getfixturevalue("rabbitmq_vhost").settings

    def opening(*more: AnyService) -> AbstractContextManager[RunningShop]:
        return run_services([*registry.all_services(), *more], tmp_path / "log")

    with settings_override(home=tmp_path, **broker):
        yield opening
