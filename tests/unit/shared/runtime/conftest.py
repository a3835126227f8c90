import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.messaging.embedded import EmbeddedBroker
from shared.storage.database import Database
from shared.storage.migrating import migrate
from tests.support.commanding import Shop
from tests.support.counting import counting
from tests.support.embedded_shop import set_up_all


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """The counting service's, migrated."""
    database = Database(f"sqlite:///{tmp_path / 'counting.db'}")
    migrate(database, counting().migrations)
    yield database
    database.close()


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is ahead of UTC."""
    with monkeypatch.context() as there:
        there.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def shop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shop:
    """The program `shop`, on an embedded shop that was set up."""
    monkeypatch.setenv("SHOP_HOME", str(tmp_path))
    set_up_all()
    return Shop(monkeypatch, capsys)


@pytest.fixture
def broker(tmp_path: Path) -> EmbeddedBroker:
    """The broker of that shop."""
    return EmbeddedBroker(tmp_path / "broker.db")
