"""Tables on terminals of several widths."""

from datetime import UTC, datetime

import pytest

from shared.operations.console import show
from shared.runtime.colours import ansi_colour, colour_number, style_of
from shop import registry

ORDER = "ORD-2GCCD-YA3KB"
ROW = {
    "order_id": ORDER,
    "event_id": "01a21e73-71d5-7b3f-abf9-6b7eae6e6911",
    "event_type": "payment.received.v1",
    "said": f"the email about {ORDER} at 2026-11-20 and more text, which can be folded anywhere",
    "to": "a.long.address.of.jane@example.com",
    "items": {"product-1": 2, "product-2": 10, "product-3": 3},
    "at": datetime(2026, 11, 20, 14, 30, 5, tzinfo=UTC),
}
WHOLE: dict[str, list[str]] = {
    "order_id": [ORDER],
    "event_id": [str(ROW["event_id"])],
    "event_type": ["payment.received.v1"],
    "said": [ORDER, "2026-11-20"],
    "to": [],
    "items": ["product-1", "product-2", "product-3"],
    "at": ["2026-11-20 14:30:05Z"],
}

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("first", ROW)
def test_a_table_breaks_no_id_date_or_event_name_and_says_what_it_lacks(
    width: int, first: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    columns = {first: first} | {name: name for name in ROW}

    show([ROW], as_json=False, columns=columns)

    table, _, note = capsys.readouterr().out.partition(f"Not shown at {width} columns: ")
    hidden = note.partition(";")[0].split(", ")
    lines = table.splitlines()
    assert max(map(len, lines)) <= width
    assert first not in hidden
    for name in set(ROW) - set(hidden):
        assert name in lines[1].split()
        assert [word for word in WHOLE[name] if not any(word in line for line in lines)] == []


def test_a_piped_table_has_every_column_and_folds_nothing(capsys: Captured) -> None:
    show([ROW] * 2, as_json=False)

    heading, _, *rows = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert heading.split() == [*ROW]
    assert len(rows) == 2
    assert str(ROW["said"]) in rows[0]


def test_the_columns_named_as_expendable_are_left_out_first(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "70")

    show(
        [ROW],
        as_json=False,
        columns={"order_id": "Order", "event_id": "Event", "at": "At"},
        expendable=("event_id",),
    )

    assert "Not shown at 70 columns: Event; --json has everything." in capsys.readouterr().out


def test_each_service_has_a_colour_of_its_own_that_depends_on_its_name_alone() -> None:
    names = registry.names()

    assert len({colour_number(name) for name in names}) == len(names)
    assert ansi_colour("orders") == f"\x1b[38;5;{colour_number('orders')}m"
    assert style_of("orders") == f"color({colour_number('orders')})"
