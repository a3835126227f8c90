import json
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from shared.errors import UnreadableContractFile
from shared.events import DomainEvent, published
from shared.events.domain_event import Kind
from shared.events.fields import Word
from shared.events.schemas import published_contracts
from shared.operations.catalog import check_contracts
from shared.operations.catalog.check_contracts import accept, problems
from shop import registry


class BellRang(DomainEvent):
    """A bell rang."""

    topic: ClassVar[str] = "bell.rang"

    tone: Word


class BellRangWithVolume(DomainEvent):
    """A bell rang, and how loud is optional."""

    topic: ClassVar[str] = "bell.rang"

    tone: Word
    decibels: int | None = None


class BellRangWithoutTone(DomainEvent):
    """A bell rang without a tone."""

    topic: ClassVar[str] = "bell.rang"


class BellRangV2(DomainEvent):
    """A bell rang at a frequency."""

    topic: ClassVar[str] = "bell.rang"
    version: ClassVar[int] = 2

    hertz: int


EXAMPLE = {
    "specversion": "1.0",
    "id": "019b7d0c-8e01-7000-8000-000000000001",
    "source": "/tower",
    "type": "bell.rang.v1",
    "time": "2026-01-02T03:04:05Z",
    "data": {"tone": "a"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that holds the published schema and example of `BellRang`."""
    give_example(tmp_path, "bell.rang.v1", EXAMPLE)
    assert [*accept([BellRang], tmp_path)] == ["bell.rang.v1"]
    return tmp_path


def give_example(folder: Path, type_: str, example: object, name: str = "one") -> None:
    path = folder / "examples" / type_ / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(example))


def test_the_published_contracts_have_no_problem() -> None:
    assert [*problems(published_contracts())] == []


def test_an_unchanged_contract_has_no_problem(folder: Path) -> None:
    assert [*problems([BellRang], folder)] == []
    assert [*accept([BellRang], folder)] == []


def test_a_compatible_change_is_published_when_it_is_accepted(folder: Path) -> None:
    before = [*problems([BellRangWithVolume], folder)]

    accepted = [*accept([BellRangWithVolume], folder)]

    assert before == [
        "bell.rang.v1 has a compatible change: if it is intended, run make contracts ARGS=--accept"
    ]
    assert accepted == ["bell.rang.v1"]
    assert [*problems([BellRangWithVolume], folder)] == []
    kept_fields = published.schemas(folder)["bell.rang.v1"]["properties"]["data"]["properties"]
    assert kept_fields.keys() == {"tone", "decibels"}


def test_a_breaking_change_is_reported_and_never_accepted(folder: Path) -> None:
    accepted = [*accept([BellRangWithoutTone], folder)]

    assert accepted == []
    (problem,) = problems([BellRangWithoutTone], folder)
    assert problem == (
        "bell.rang.v1: data.tone is removed, and consumers of this version could not read new "
        "events: publish bell.rang.v2 instead"
    )


def test_a_new_version_beside_the_old_is_accepted(folder: Path) -> None:
    both: list[Kind] = [BellRang, BellRangV2]
    found = [*problems(both, folder)]
    give_example(folder, "bell.rang.v2", EXAMPLE | {"type": "bell.rang.v2", "data": {"hertz": 1}})

    accepted = [*accept(both, folder)]

    assert found == [
        "bell.rang.v2 is new: if it is intended, run make contracts ARGS=--accept",
        f"bell.rang.v2 has no example: write one, {folder.name}/examples/bell.rang.v2/NAME.json",
    ]
    assert accepted == ["bell.rang.v2"]
    assert [*problems(both, folder)] == []


def test_a_version_in_place_of_the_old_leaves_history_unreadable(folder: Path) -> None:
    found = [*problems([BellRangV2], folder)]

    assert "bell.rang.v1 is removed, but the history has such events: keep its contract" in found


@pytest.mark.parametrize(
    ("example", "problem"),
    [
        pytest.param(
            EXAMPLE | {"data": {}},
            "bell.rang.v1: the example old can no longer be read: bell.rang.v1: data.tone "
            "is missing: it should be 1 to 64 letters, digits, spaces, . _ and -",
            id="unreadable",
        ),
        pytest.param(
            EXAMPLE | {"type": "bell.rang.v2"},
            "bell.rang.v1: the example old is of another type",
            id="misplaced",
        ),
    ],
)
def test_every_example_must_be_readable(folder: Path, example: object, problem: str) -> None:
    give_example(folder, "bell.rang.v1", example, name="old")

    assert [*problems([BellRang], folder)] == [problem]


def test_an_example_is_new_until_it_is_accepted(folder: Path) -> None:
    give_example(folder, "bell.rang.v1", EXAMPLE, name="two")
    before = [*problems([BellRang], folder)]

    accepted = [*accept([BellRang], folder)]

    assert before == [
        "bell.rang.v1: the example two is new: if it is intended, run make contracts ARGS=--accept"
    ]
    assert accepted == ["bell.rang.v1"]
    assert [*problems([BellRang], folder)] == []


def test_a_published_example_may_not_be_changed_or_removed(folder: Path) -> None:
    give_example(folder, "bell.rang.v1", EXAMPLE | {"data": {"tone": "b"}})
    changed = [*problems([BellRang], folder)]
    (folder / "examples" / "bell.rang.v1" / "one.json").unlink()

    accepted = [*accept([BellRang], folder)]

    assert changed == [
        "bell.rang.v1: the example one has changed since it was published: add another instead"
    ]
    assert accepted == []
    assert [*problems([BellRang], folder)] == [
        f"bell.rang.v1 has no example: write one, {folder.name}/examples/bell.rang.v1/NAME.json",
        "bell.rang.v1: the example one was published, and is removed",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("{", "bell.rang.v1/one.json is not JSON: ", id="no JSON"),
        pytest.param("[]", "bell.rang.v1/one.json is JSON, but not an object", id="no object"),
    ],
)
def test_a_published_file_that_cannot_be_read_is_named(
    folder: Path, content: str, message: str
) -> None:
    (folder / "examples" / "bell.rang.v1" / "one.json").write_text(content)

    with pytest.raises(UnreadableContractFile, match=message):
        [*problems([BellRang], folder)]


def test_every_event_that_a_service_publishes_is_a_published_contract() -> None:
    contracts = set(published_contracts())

    assert {each for service in registry.all_services() for each in service.publishes} <= contracts


def test_the_command_fails_with_a_sentence_for_each_problem() -> None:
    program = """
import shared.events
from shared.errors import UnreadableContractFile
from shared.events.fields import EmailAddress, Items, Money, ShippingAddress
from shared.operations.catalog import check_contracts

class Changed(shared.events.OrderEvent):
    topic = "order.placed"
    customer_email: EmailAddress
    items: Items
    shipping_address: ShippingAddress
    total_amount: Money

shared.events.OrderPlaced = Changed
check_contracts.main()
"""

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr == (
        "order.placed.v1: data.currency is removed, and consumers of this version could not read "
        "new events: publish order.placed.v2 instead\n"
    )


def test_accepting_a_contract_says_that_the_page_of_events_is_out_of_date(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["contracts", "--accept"])
    monkeypatch.setattr(check_contracts, "accept", lambda _: iter(["bell.rang.v1"]))

    with pytest.raises(SystemExit):
        check_contracts.main()

    assert capsys.readouterr().out.splitlines() == [
        "bell.rang.v1: accepted",
        "docs/events.md is now out of date: run make docs",
    ]


def test_lint_notices_a_page_of_events_that_is_out_of_date(tmp_path: Path) -> None:
    root = Path(__file__).parents[5]
    (tmp_path / "make.py").write_text((root / "docs" / "make.py").read_text())
    page = tmp_path / "events.md"
    check = [sys.executable, str(tmp_path / "make.py"), "--check"]

    page.write_text((root / "docs" / "events.md").read_text())
    good = subprocess.run(check, capture_output=True, text=True, check=False, cwd=root)
    page.write_text("# Events\n")
    stale = subprocess.run(check, capture_output=True, text=True, check=False, cwd=root)

    assert (good.returncode, good.stderr) == (0, "")
    assert (stale.returncode, stale.stderr) == (
        1,
        "docs/events.md is out of date: run make docs\n",
    )
    assert "docs/make.py --check" in (root / "Makefile").read_text()
