"""A command in a folder without a shop says which one it makes, or that there is none."""

import json
from pathlib import Path

import pytest

from tests.support.commanding import Shop

PLACE = ("orders", "place", "--email", "jane@example.com", "--address", "12 Main St")
LOOKS = [
    ["orders", "list"],
    ["orders", "show", "ORD-1"],
    ["orders", "products"],
    ["inventory", "stock"],
    ["shipping", "list"],
    ["email", "sent"],
    ["loyalty", "balance", "jane@example.com"],
    ["loyalty", "ledger", "jane@example.com"],
    ["analytics", "report"],
    ["dead", "list"],
    ["dead", "show", "email", "EVENT"],
    ["dead", "retry", "email", "--all"],
    ["events", "history"],
    ["events", "tail"],
    ["events", "replay", "--to", "loyalty"],
    ["events", "rebuild", "loyalty"],
    ["outbox", "resend", "orders"],
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, without a shop."""
    monkeypatch.delenv("SHOP_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def shop(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shop:
    assert not (folder / "var").exists()
    return Shop(monkeypatch, capsys)


@pytest.mark.parametrize("arguments", LOOKS, ids=" ".join)
def test_a_command_that_only_reads_makes_no_shop(
    shop: Shop, folder: Path, arguments: list[str]
) -> None:
    result = shop(*arguments)

    assert (result.code, result.out) == (1, "")
    assert result.err == (
        f"shop: there is no shop in {folder / 'var'} (SHOP_HOME): change to the folder that has "
        "yours, or make one with shop up\n"
    )
    assert not (folder / "var").exists()


def test_the_first_command_that_writes_says_where_it_makes_the_shop(
    shop: Shop, folder: Path
) -> None:
    first = shop(*PLACE, "--item", "product-1=1", "--json")
    second = shop(*PLACE, "--item", "product-1=1", "--json")

    assert first.err == f"shop: made a new shop in {folder / 'var'} (SHOP_HOME)\n"
    assert first.json["status"] == "placed"
    assert second.err == ""
    assert shop("inventory", "stock").code == 0


def test_setup_says_it_too(shop: Shop, folder: Path) -> None:
    assert shop("setup").err == f"shop: made a new shop in {folder / 'var'} (SHOP_HOME)\n"


def test_with_a_database_server_no_home_is_needed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/{service}")

    assert "there is no shop" not in shop("orders", "list").err


def test_a_process_logs_where_it_made_the_shop(
    shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.runtime.process._supervise", lambda _group, _stopping: 0)

    first, second = shop("run", "loyalty", "--json"), shop("run", "loyalty", "--json")

    made = [json.loads(line) for line in first.out.splitlines() if "made a new shop" in line]
    assert [line["folder"] for line in made] == [str(folder / "var")]
    assert "made a new shop" not in second.out
