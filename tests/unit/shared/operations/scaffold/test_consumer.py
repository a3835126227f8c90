import ast
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.errors import InvalidInput, OperationFailed
from shared.events import DomainEvent, OrderPlaced, StockRanShort
from shared.operations.scaffold import consumer
from shared.operations.scaffold.consumer import (
    MARKER,
    NewConsumer,
    contracts_of,
    make,
    require_free_name,
)

ROOT = Path(__file__).parents[5]
GIFTS = NewConsumer(name="gifts", subscribed=[OrderPlaced], user=21_327)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What `shop new` needs of one."""
    for folder in ("services/orders", "shared", "tests/unit/services/orders", "docs"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "docs" / "events.md").touch()
    (tmp_path / "services" / "registry.py").touch()
    (tmp_path / "services" / "orders" / "service.py").touch()
    (tmp_path / "services" / "left" / "__pycache__").mkdir(parents=True)
    (tmp_path / "shared" / "testing.py").touch()
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    return tmp_path


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def free(name: str, checkout: Path, users: Sequence[str] = ()) -> None:
    require_free_name(name, checkout, commands=["up", "dead"], users=users)


def test_a_new_consumer_is_a_folder_a_test_and_a_stanza(checkout: Path) -> None:
    before = files(checkout)

    made = make(GIFTS, checkout)

    now = files(checkout)
    assert [str(each) for each in made] == [
        "services/gifts",
        "tests/unit/services/gifts/test_gifts.py",
        "docker-compose.yml",
    ]
    assert now.keys() - before.keys() == {
        *(f"services/gifts/{name}.py" for name in ("__init__", "service", "handlers", "store")),
        *(f"services/gifts/{name}.py" for name in ("tables", "commands", "migrations/0001_noted")),
        "tests/unit/services/gifts/test_gifts.py",
    }
    assert {name for name in before if before[name] != now[name]} == {"docker-compose.yml"}
    assert all(ast.parse(now[name]) for name in now if name.endswith(".py"))


def test_its_stanza_and_settings_are_added_and_nothing_else_of_the_composition_changes(
    checkout: Path,
) -> None:
    before = (checkout / "docker-compose.yml").read_text()

    make(GIFTS, checkout)

    now = (checkout / "docker-compose.yml").read_text()
    stanza = (
        "  gifts:\n    <<: *service\n    command: [run, gifts]\n"
        f'    user: "21327:21327"\n\n{MARKER}'
    )
    assert stanza in now
    settings = [line for line in now.splitlines() if line.startswith("  SHOP_GIFTS_")]
    assert len(settings) == 6
    left = now.replace(stanza, MARKER)
    for line in settings:
        left = left.replace(f"{line}\n", "")
    assert left == before


def test_a_second_consumer_comes_after_the_first(checkout: Path) -> None:
    make(GIFTS, checkout)

    make(NewConsumer(name="ribbons", subscribed=[DomainEvent], user=30_000), checkout)

    text = (checkout / "docker-compose.yml").read_text()
    assert 0 < text.index("  gifts:\n") < text.index("  ribbons:\n") < text.index(MARKER)
    assert text.index("SHOP_GIFTS_DEADLINE") < text.index("SHOP_RIBBONS_RETRY_DELAY")


@pytest.mark.parametrize("moment", ["test", "compose", "service"])
def test_what_cannot_be_finished_leaves_nothing(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    before = files(checkout)
    move, moved = Path.rename, Path.replace

    def fail(self: Path, target: Any) -> Path:
        if self.name in {moment, "docker-compose.yml"} and moment in {self.name, "compose"}:
            raise OSError(28, "No space left on device")
        return (moved if self.name == "docker-compose.yml" else move)(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    monkeypatch.setattr(Path, "replace", fail)

    with pytest.raises(OperationFailed, match="cannot be written: No space left on device"):
        make(GIFTS, checkout)

    assert files(checkout) == before
    assert not [path for path in checkout.rglob("*") if "gifts" in path.name]
    assert not [path for path in checkout.iterdir() if path.name.startswith(".new")]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "cannot be a service's name"),
        ("9lives", "cannot be a service's name"),
        ("gift-wrap", "cannot be a service's name"),
        ("Gifts", "cannot be a service's name"),
        ("gïfts", "cannot be a service's name"),
        ("gifts\n", "cannot be a service's name"),
        ("../gifts", "cannot be a service's name"),
        ("class", "cannot be a service's name"),
        ("g" * 25, "cannot be a service's name"),
        ("orders", "there is a service orders already"),
        ("json", "json would shadow Python's own json"),
        ("print", "print would shadow Python's own print"),
        ("pika", "pika would shadow the installed pika"),
        ("left", "there is a folder services/left already: remove it first"),
        ("broker", "broker has a meaning here already"),
        ("none", "none has a meaning here already"),
        ("registry", "registry has a meaning here already"),
        ("testing", "testing has a meaning here already"),
        ("shared", "shared has a meaning here already"),
        ("maildev", "maildev has a meaning here already"),
        ("up", "up has a meaning here already"),
        ("history", "history has a meaning here already"),
        ("null", "null has a meaning here already"),
        ("pg_gifts", "pg_gifts has a meaning here already"),
    ],
)
def test_a_name_that_cannot_be_is_refused_with_the_reason(
    checkout: Path, name: str, why: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        free(name, checkout)

    assert why in str(refused.value)


def test_a_name_whose_test_folder_is_there_is_refused(checkout: Path) -> None:
    (checkout / "tests" / "unit" / "services" / "gifts").mkdir()

    with pytest.raises(InvalidInput, match="there is a service gifts already"):
        free("gifts", checkout)


def test_a_name_that_gives_the_user_of_another_service_is_refused(checkout: Path) -> None:
    with pytest.raises(InvalidInput, match="gifts would run as the same user as orders"):
        free("gifts", checkout, users=["orders"])


def test_a_good_name_is_taken(checkout: Path) -> None:
    free("gift_wrap2", checkout)


@pytest.mark.parametrize("lacking", ["docker-compose.yml", "marker", "tests"])
def test_elsewhere_than_in_a_checkout_it_is_refused(checkout: Path, lacking: str) -> None:
    compose = checkout / "docker-compose.yml"
    match lacking:
        case "docker-compose.yml":
            compose.unlink()
        case "marker":
            compose.write_text(compose.read_text().replace(MARKER, ""))
        case _:
            shutil.rmtree(checkout / "tests")

    with pytest.raises(OperationFailed, match="into the project's checkout, and this is none"):
        make(GIFTS, checkout)


def test_a_consumer_may_not_be_named_like_its_own_handler(checkout: Path) -> None:
    before = files(checkout)

    with pytest.raises(InvalidInput, match="would be its own handler's name"):
        make(replace(GIFTS, name="note_order_placed"), checkout)

    assert files(checkout) == before


def test_topics_are_contracts_each_once_and_all_events_without_any() -> None:
    assert contracts_of(["order.placed", "stock.ran_short", "order.placed"]) == [
        OrderPlaced,
        StockRanShort,
    ]
    assert contracts_of([]) == [DomainEvent]


def test_a_topic_is_the_newest_version(monkeypatch: pytest.MonkeyPatch) -> None:
    class Newer(OrderPlaced):
        version = 2

    try:
        monkeypatch.setattr(consumer, "published_contracts", lambda: [Newer, OrderPlaced])
        assert contracts_of(["order.placed"]) == [Newer]
    finally:
        Newer.topic = ""  # no other test meets it


def test_an_unknown_topic_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"there is no event 'order\.eaten'; there are order\.c"):
        contracts_of(["order.eaten"])
