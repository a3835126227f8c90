import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commanding import Shop


@pytest.fixture
def shop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shop:
    """The program, with its data in the test's own folder."""
    monkeypatch.setenv("SHOP_HOME", str(tmp_path))
    (tmp_path / "any.db").touch()  # so the shop is not a new one
    return Shop(monkeypatch, capsys)


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is ahead of UTC."""
    with monkeypatch.context() as there:
        there.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()
