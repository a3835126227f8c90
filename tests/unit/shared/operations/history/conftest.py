from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from shared.messaging.embedded import EmbeddedBroker
from tests.support.commanding import Shop
from tests.support.embedded_shop import set_up_all


@pytest.fixture
def shop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shop:
    """The program `shop`, on an embedded shop that was set up."""
    monkeypatch.setenv("SHOP_HOME", str(tmp_path))
    set_up_all()
    return Shop(monkeypatch, capsys)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """The broker of that shop."""
    with closing(EmbeddedBroker(tmp_path / "broker.db")) as broker:
        yield broker
