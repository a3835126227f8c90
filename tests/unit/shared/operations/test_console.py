import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from uuid import UUID

import pytest

from shared import sqlite_locking
from shared.errors import OperationFailed
from shared.operations.console import database_of, print_json, show
from shared.runtime.settings import settings_override
from tests.support.counting import counting

Captured = pytest.CaptureFixture[str]

RECORD = {"order_id": "ORD-1", "total_amount": Decimal("99.90"), "paid_at": None}


def test_json_has_times_money_ids_and_mappings_as_others_read_them(capsys: Captured) -> None:
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


def test_an_empty_listing_is_json_for_machines_and_a_sentence_for_people(capsys: Captured) -> None:
    show([], as_json=True)
    show([], as_json=False, empty="No shipments.")

    assert capsys.readouterr().out == "[]\nNo shipments.\n"


def test_one_record_shows_what_there_is_a_line_each(capsys: Captured) -> None:
    show(RECORD, as_json=False)

    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["order", "id", "ORD-1"],
        ["total", "amount", "99.90"],
    ]


def test_a_listing_is_a_table_of_the_columns_asked_for(capsys: Captured) -> None:
    show([RECORD], as_json=False, columns={"order_id": "Order", "paid_at": "Paid"})

    out = capsys.readouterr().out
    assert out.split()[:2] == ["Order", "Paid"]
    assert "ORD-1" in out
    assert "99.90" not in out
    assert "None" not in out


def test_what_people_typed_is_no_markup(capsys: Captured) -> None:
    show([{"reason": "[red]late[/red] [/]"}], as_json=False)
    show({"reason": "[bold]"}, as_json=False)

    out = capsys.readouterr().out
    assert "[red]late[/red] [/]" in out
    assert "[bold]" in out


STRANGE = "a\x1b[31m\x9b2J\u202eb\U000e0041\ud800ä€😀"


def test_what_strangers_wrote_moves_no_cursor_and_stays_what_it_is_in_json(
    capsys: Captured,
) -> None:
    print_json({"body": STRANGE})
    as_json = capsys.readouterr().out
    show([{"body": STRANGE}], as_json=False)
    table = capsys.readouterr().out

    assert json.loads(as_json) == {"body": STRANGE}
    for said in (as_json, table):
        assert said.replace("\n", "").isprintable()
        assert "ä€😀" in said


def test_a_long_cell_is_kept_whole_where_there_is_no_terminal(capsys: Captured) -> None:
    show([{"a": "x" * 150}], as_json=False)

    assert "x" * 150 in capsys.readouterr().out


def test_a_database_that_fails_meanwhile_is_said_so_without_what_was_written(
    tmp_path: object,
) -> None:
    service = counting()
    with (
        settings_override(home=tmp_path),
        pytest.raises(OperationFailed) as failed,
        database_of(service) as database,
        database.begin() as connection,
    ):
        connection.exec_driver_sql("INSERT INTO missing VALUES (?)", ("123 Canary Street",))

    assert "counting's database" in str(failed.value)
    assert "no such table" in str(failed.value)
    assert "Canary" not in str(failed.value)


def test_a_file_that_another_holds_is_called_locked(
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
