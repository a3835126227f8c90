import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from uuid import UUID

import pytest

from shared import sqlite_locking
from shared.errors import OperationFailed
from shared.operations.console import database_of, print_json, progress, show
from shared.runtime.settings import settings_override
from tests.support.counting import counting

Captured = pytest.CaptureFixture[str]

RECORD = {"order_id": "ORD-1", "total_amount": Decimal("99.90"), "paid_at": None}


def test_json_has_times_money_ids_and_mappings_in_standard_form(capsys: Captured) -> None:
    print_json(
        {
            "at": datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC),
            "amount": Decimal("99.90"),
            "id": UUID(int=1),
            "items": MappingProxyType({"product-1": 2}),
            "name": "Zoë",
            "nothing": None,
        }
    )

    out = capsys.readouterr().out
    assert json.loads(out) == {
        "at": "2026-03-01T12:00:00.000005Z",
        "amount": "99.90",
        "id": "00000000-0000-0000-0000-000000000001",
        "items": {"product-1": 2},
        "name": "Zoë",
        "nothing": None,
    }
    assert out.count("\n") == 1


def test_an_empty_list_is_printed_as_json_or_as_a_sentence(capsys: Captured) -> None:
    show([], as_json=True)
    show([], as_json=False, empty="No shipments.")

    assert capsys.readouterr().out == "[]\nNo shipments.\n"


def test_one_record_is_printed_with_a_line_for_each_value(capsys: Captured) -> None:
    show(RECORD, as_json=False)

    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["order", "id", "ORD-1"],
        ["total", "amount", "99.90"],
    ]


def test_a_list_is_printed_as_a_table_of_the_given_columns(capsys: Captured) -> None:
    show([RECORD], as_json=False, columns={"order_id": "Order", "paid_at": "Paid"})

    out = capsys.readouterr().out
    assert out.split()[:2] == ["Order", "Paid"]
    assert "ORD-1" in out
    assert "99.90" not in out
    assert "None" not in out


def test_square_brackets_in_values_are_not_markup(capsys: Captured) -> None:
    show([{"reason": "[red]late[/red] [/]"}], as_json=False)
    show({"reason": "[bold]"}, as_json=False)

    out = capsys.readouterr().out
    assert "[red]late[/red] [/]" in out
    assert "[bold]" in out


UNSAFE = "a\x1b[31m\x9b2J\u202eb\U000e0041\ud800ä€😀"


def test_control_characters_are_escaped_and_json_keeps_its_meaning(capsys: Captured) -> None:
    print_json({"body": UNSAFE})
    as_json = capsys.readouterr().out
    show([{"body": UNSAFE}], as_json=False)
    table = capsys.readouterr().out

    assert json.loads(as_json) == {"body": UNSAFE}
    for output in (as_json, table):
        assert output.replace("\n", "").isprintable()
        assert "ä€😀" in output


def test_without_a_terminal_a_long_cell_is_not_wrapped(capsys: Captured) -> None:
    show([{"a": "x" * 150}], as_json=False)

    assert "x" * 150 in capsys.readouterr().out


def test_progress_is_shown_on_a_terminal_only(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> str:
        with progress("Copying") as update:
            update(1, 2)
            update(2, 2)
        return capsys.readouterr().err

    redirected = run()
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    on_terminal = run()

    assert redirected == ""
    assert "Copying" in on_terminal
    assert "2/2" in on_terminal


def test_a_failing_database_is_reported_without_the_values_of_the_statement(
    tmp_path: object,
) -> None:
    service = counting()
    with (
        settings_override(home=tmp_path),
        pytest.raises(OperationFailed) as raised,
        database_of(service) as database,
        database.begin() as connection,
    ):
        connection.exec_driver_sql("INSERT INTO missing VALUES (?)", ("123 Canary Street",))

    assert "counting's database" in str(raised.value)
    assert "no such table" in str(raised.value)
    assert "Canary" not in str(raised.value)


def test_a_locked_database_file_is_reported_as_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_locking, "LONGEST_WAIT", 0.1)
    with (
        settings_override(home=tmp_path),
        database_of(counting()) as database,
        pytest.raises(OperationFailed, match=r"counting\.db cannot be used: database is locked"),
        database_of(counting()) as other,
        database.begin(),
        other.begin(),
    ):
        pass
