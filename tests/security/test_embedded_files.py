"""What the embedded shop writes is for its owner only, also under a permissive umask."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.runtime.settings import settings_override
from shop import registry
from tests.acceptance.shop import run_services
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def permissive_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_all_files_and_folders_of_a_running_shop_are_for_their_owner_only(tmp_path: Path) -> None:
    home = tmp_path / "new" / "var"
    mails = home / "mail" / "new"
    with (
        settings_override(home=home),
        run_services(registry.all_services(), tmp_path / "log") as shop,
    ):
        shop.place("ORD-1")
        eventually(lambda: mails.exists() and any(mails.iterdir()))
        # While it runs, since SQLite removes what is beside a database when it is closed.
        modes = {
            str(path.relative_to(tmp_path)): oct(stat.S_IMODE(path.stat().st_mode))
            for path in (home.parent, *home.parent.rglob("*"))
        }
        folders = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_dir()}

    found = {Path(name).name for name in modes}
    assert {"broker.db-wal", "broker.db-shm", "orders.db", "orders.db-wal"} <= found
    assert any(name.endswith(".lock") for name in found)
    assert {name: mode for name, mode in modes.items() if mode != expected(name, folders)} == {}


def expected(name: str, folders: set[str]) -> str:
    return "0o700" if name in folders else "0o600"
