from collections.abc import Iterator
from pathlib import Path

import pytest

from services.orders.service import orders
from shared.storage.database import Database
from shared.testing import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path, [orders])
    yield stage
    stage.close()


@pytest.fixture
def database(stage: Stage) -> Database:
    return stage.databases["orders"]
