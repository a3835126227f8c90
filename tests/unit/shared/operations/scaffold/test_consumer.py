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
    MARKERS,
    NewConsumer,
    contracts_of,
    create,
    require_free_name,
)

ROOT = Path(__file__).parents[5]
SERVICES, SERVICE_NETWORKS, NETWORKS = MARKERS
GIFTS = NewConsumer(name="gifts", contracts=[OrderPlaced], user_id=21_327)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The parts of a checkout that `shop new` needs."""
    for folder in ("services/orders", "shared", "tests/unit/services/orders", "docs"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "docs" / "events.md").touch()
    (tmp_path / "services" / "registry.py").touch()
    (tmp_path / "services" / "orders" / "service.py").touch()
    (tmp_path / "services" / "removed" / "__pycache__").mkdir(parents=True)
    (tmp_path / "shared" / "testing.py").touch()
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    return tmp_path


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def check_name(name: str, checkout: Path, same_user: Sequence[str] = ()) -> None:
    require_free_name(name, checkout, commands=["up", "dead"], same_user=same_user)


def test_a_new_consumer_is_a_folder_a_test_and_a_stanza(checkout: Path) -> None:
    before = files(checkout)

    paths = create(GIFTS, checkout)

    after = files(checkout)
    assert [str(path) for path in paths] == [
        "services/gifts",
        "tests/unit/services/gifts/test_gifts.py",
        "docker-compose.yml",
    ]
    assert after.keys() - before.keys() == {
        *(f"services/gifts/{name}.py" for name in ("__init__", "service", "handlers", "store")),
        *(
            f"services/gifts/{name}.py"
            for name in ("tables", "commands", "migrations/0001_received_events")
        ),
        "tests/unit/services/gifts/test_gifts.py",
    }
    assert {name for name in before if before[name] != after[name]} == {"docker-compose.yml"}
    assert all(ast.parse(after[name]) for name in after if name.endswith(".py"))


def test_its_stanza_network_and_settings_are_added_and_nothing_else_in_the_compose_file_changes(
    checkout: Path,
) -> None:
    before = (checkout / "docker-compose.yml").read_text()

    create(GIFTS, checkout)

    after = (checkout / "docker-compose.yml").read_text()
    added = {
        SERVICES: "  gifts:\n    <<: *service\n    command: [run, gifts]\n"
        '    user: "21327:21327"\n    networks: [gifts]\n\n',
        SERVICE_NETWORKS: "  gifts:\n",
        NETWORKS: "  gifts: *internal\n",
    }
    settings = [line for line in after.splitlines() if line.startswith("  SHOP_GIFTS_")]
    assert len(settings) == 6
    rest = after
    for marker, text in added.items():
        assert text + marker in rest
        rest = rest.replace(text + marker, marker)
    for line in settings:
        rest = rest.replace(f"{line}\n", "")
    assert rest == before


def test_a_second_consumer_is_added_after_the_first(checkout: Path) -> None:
    create(GIFTS, checkout)

    create(NewConsumer(name="ribbons", contracts=[DomainEvent], user_id=30_000), checkout)

    text = (checkout / "docker-compose.yml").read_text()
    for gifts, marker in (
        ("  gifts:\n    <<: *service\n", SERVICES),
        ("  gifts:\n", SERVICE_NETWORKS),
        ("  gifts: *internal\n", NETWORKS),
    ):
        ribbons = gifts.replace("gifts", "ribbons")
        assert 0 < text.index(gifts) < text.index(ribbons) < text.index(marker)
    assert text.index("SHOP_GIFTS_DEADLINE") < text.index("SHOP_RIBBONS_RETRY_DELAY")


@pytest.mark.parametrize("failing_move", ["test", "compose", "service"])
def test_when_a_move_fails_everything_is_as_before(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, failing_move: str
) -> None:
    before = files(checkout)
    rename, replace_ = Path.rename, Path.replace

    def fail(self: Path, target: Any) -> Path:
        if self.name in {failing_move, "docker-compose.yml"} and failing_move in {
            self.name,
            "compose",
        }:
            raise OSError(28, "No space left on device")
        return (replace_ if self.name == "docker-compose.yml" else rename)(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    monkeypatch.setattr(Path, "replace", fail)

    with pytest.raises(OperationFailed, match="cannot be written: No space left on device"):
        create(GIFTS, checkout)

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
        ("removed", "there is a folder services/removed already: remove it first"),
        ("broker", "broker has a meaning here already"),
        ("none", "none has a meaning here already"),
        ("registry", "registry has a meaning here already"),
        ("testing", "testing has a meaning here already"),
        ("shared", "shared has a meaning here already"),
        ("maildev", "maildev has a meaning here already"),
        ("mail", "mail has a meaning here already"),
        ("management", "management has a meaning here already"),
        ("up", "up has a meaning here already"),
        ("history", "history has a meaning here already"),
        ("null", "null has a meaning here already"),
        ("pg_gifts", "pg_gifts has a meaning here already"),
    ],
)
def test_an_unusable_name_is_refused_with_the_reason(checkout: Path, name: str, why: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_name(name, checkout)

    assert why in str(refused.value)


def test_a_name_with_an_existing_test_folder_is_refused(checkout: Path) -> None:
    (checkout / "tests" / "unit" / "services" / "gifts").mkdir()

    with pytest.raises(InvalidInput, match="there is a service gifts already"):
        check_name("gifts", checkout)


def test_a_name_that_results_in_the_user_id_of_another_service_is_refused(checkout: Path) -> None:
    with pytest.raises(InvalidInput, match="gifts would run as the same user as orders"):
        check_name("gifts", checkout, same_user=["orders"])


def test_a_usable_name_is_accepted(checkout: Path) -> None:
    check_name("gift_wrap2", checkout)


@pytest.mark.parametrize("missing", ["docker-compose.yml", *MARKERS, "tests"])
def test_outside_a_checkout_it_is_refused(checkout: Path, missing: str) -> None:
    compose = checkout / "docker-compose.yml"
    match missing:
        case "docker-compose.yml":
            compose.unlink()
        case "tests":
            shutil.rmtree(checkout / "tests")
        case marker:
            compose.write_text(compose.read_text().replace(marker, ""))

    with pytest.raises(OperationFailed, match="needs the project's checkout, and this is not one"):
        create(GIFTS, checkout)


def test_a_consumer_may_not_have_the_name_of_its_handler(checkout: Path) -> None:
    before = files(checkout)

    with pytest.raises(InvalidInput, match="would be its own handler's name"):
        create(replace(GIFTS, name="record_order_placed"), checkout)

    assert files(checkout) == before


def test_topics_select_contracts_without_duplicates_and_no_topic_selects_all_events() -> None:
    assert contracts_of(["order.placed", "stock.ran_short", "order.placed"]) == [
        OrderPlaced,
        StockRanShort,
    ]
    assert contracts_of([]) == [DomainEvent]


def test_a_topic_selects_the_newest_version(monkeypatch: pytest.MonkeyPatch) -> None:
    class Newer(OrderPlaced):
        version = 2

    try:
        monkeypatch.setattr(consumer, "published_contracts", lambda: [Newer, OrderPlaced])
        assert contracts_of(["order.placed"]) == [Newer]
    finally:
        Newer.topic = ""  # so that other tests do not see it as a contract


def test_an_unknown_topic_is_refused_and_the_known_ones_are_listed() -> None:
    with pytest.raises(InvalidInput, match=r"there is no event 'order\.eaten'; there are order\.c"):
        contracts_of(["order.eaten"])
