import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from shared.runtime import pruner
from shared.runtime.logs import log_to
from shared.runtime.pruner import Pruner, rules
from shared.runtime.settings import Settings
from shared.storage.database import Database
from shared.storage.pruning import (
    BATCH_ROWS,
    FAILED_ATTEMPTS,
    HANDLED_EVENTS,
    SENT_EVENTS,
    Prunable,
    prune,
)
from tests.support.aged_rows import add_rows
from tests.support.running_service import RunningService
from tests.support.waiting import eventually

ALL = SENT_EVENTS, FAILED_ATTEMPTS, HANDLED_EVENTS
LONG_AGO = datetime.now(UTC) - timedelta(days=400)


def make(database: Database, output: io.StringIO) -> Pruner:
    settings = Settings(inbox_keep=30)
    return Pruner(database, rules(settings), log_to(output, settings))


def number(database: Database, prunable: Prunable) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count(prunable.key))).scalar_one()


def test_every_table_is_pruned_in_several_transactions(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in ALL:
        add_rows(database, each, [LONG_AGO] * (2 * BATCH_ROWS + 1))
        add_rows(database, each, [datetime.now(UTC)])
    batches: list[int] = []

    def count(connection: object, *arguments: object, **options: object) -> object:
        batch = prune(connection, *arguments, **options)  # type: ignore[arg-type]
        batches.append(batch.rows)
        return batch

    monkeypatch.setattr(pruner, "prune", count)
    make(database, io.StringIO()).prune_all()

    assert batches == [BATCH_ROWS, BATCH_ROWS, 1] * 3
    assert [number(database, each) for each in ALL] == [1, 1, 1]


def test_a_table_that_cannot_be_pruned_does_not_affect_the_others(database: Database) -> None:
    output = io.StringIO()
    for each in ALL:
        add_rows(database, each, [LONG_AGO])
    with database.begin() as connection:
        connection.execute(
            text("CREATE TRIGGER t BEFORE DELETE ON outbox BEGIN SELECT RAISE(ABORT, 'no'); END")
        )

    make(database, output).prune_all()

    assert [number(database, each) for each in ALL] == [1, 0, 0]
    [line] = [json.loads(each) for each in output.getvalue().splitlines() if "not pruned" in each]
    assert (line["table"], line["error"], line["task"]) == ("outbox", "IntegrityError", "pruner")


def test_the_inbox_forgets_only_events_that_would_be_refused_as_too_old(database: Database) -> None:
    ages = timedelta(days=32), timedelta(days=30, hours=12), timedelta(days=1)
    add_rows(database, HANDLED_EVENTS, [datetime.now(UTC) - each for each in ages])

    make(database, io.StringIO()).prune_all()

    assert number(database, HANDLED_EVENTS) == 2


def test_without_a_setting_the_inbox_forgets_nothing() -> None:
    assert [each.prunable for each in rules(Settings())] == [SENT_EVENTS, FAILED_ATTEMPTS]
    assert [each.keep.days for each in rules(Settings(outbox_keep=3))] == [3, 30]


def test_a_service_prunes_while_it_runs_and_is_unhealthy_when_it_does_not(tmp_path: Path) -> None:
    service = RunningService(tmp_path)
    add_rows(service.database, SENT_EVENTS, [LONG_AGO] * (BATCH_ROWS + 1))
    service.runner.start()
    eventually(lambda: number(service.database, SENT_EVENTS) == 0)
    assert service.runner.health() == []

    service.runner._pruner.stop()
    eventually(lambda: service.runner.health() == ["counting pruner has ended"])

    service.close()
