"""Rows of the runtime's tables that grow, with given ages."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import insert

from shared.storage.database import Database
from shared.storage.pruning import Prunable


def add_rows(database: Database, prunable: Prunable, times: Sequence[datetime]) -> None:
    """Insert a row for each of these times; an event of the outbox counts as sent at that time."""
    make = _ROWS[prunable.name]
    rows = [make(time) | {prunable.time.name: time} for time in times]
    with database.begin() as connection:
        connection.execute(insert(prunable.key.table), rows)


def _sent(time: datetime) -> dict[str, Any]:
    return {
        "event_id": uuid4(),
        "topic": "thing.counted",
        "event_type": "thing.counted.v1",
        "subject": "a",
        "occurred_at": time,
        "body": "{}",
    }


def _failed(_time: datetime) -> dict[str, Any]:
    return {
        "event_id": str(uuid4()),
        "event_type": "thing.happened.v1",
        "subject": "a",
        "attempt": 1,
        "replays": 0,
        "outcome": "retried",
        "error": "NotKnownYet",
        "message": "",
        "traceback": "",
    }


def _handled(_time: datetime) -> dict[str, Any]:
    return {
        "event_id": uuid4(),
        "event_type": "thing.happened.v1",
        "subject": "a",
        "outcome": "handled",
    }


_ROWS: dict[str, Callable[[datetime], dict[str, Any]]] = {
    "outbox": _sent,
    "failures": _failed,
    "inbox": _handled,
}
