"""Deletes a service's old rows: sent events, records of failed attempts, handled events.

It has a thread of its own, so that neither sending nor handling waits for it. Each batch is a
transaction of its own, with a pause after it, and one table's trouble does not affect another's.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from shared.runtime.logs import Log
from shared.runtime.settings import Settings
from shared.storage import failures
from shared.storage.database import DATABASE_ERRORS, Database
from shared.storage.pruning import (
    BATCH_ROWS,
    BEGINNING,
    FAILED_ATTEMPTS,
    HANDLED_EVENTS,
    SENT_EVENTS,
    Prunable,
    PrunedBatch,
    prune,
)

EVERY_SECONDS = 600.0

_PAUSE = 4
"""How many times as long as a batch the pause after it is: a fifth of the time is for pruning."""

_CLOCKS_DIFFER_BY = timedelta(days=1)


class Rule(NamedTuple):
    """How long the rows of a table are kept."""

    prunable: Prunable
    keep: timedelta


def rules(settings: Settings) -> list[Rule]:
    """What is pruned, by a service's settings."""
    kept = [
        Rule(SENT_EVENTS, timedelta(days=settings.outbox_keep)),
        Rule(FAILED_ATTEMPTS, timedelta(days=settings.failures_keep)),
    ]
    horizon = settings.inbox_horizon()
    if horizon is not None:
        # A while after such events are refused, because clocks of machines differ.
        kept.append(Rule(HANDLED_EVENTS, horizon + _CLOCKS_DIFFER_BY))
    return kept


@dataclass(eq=False)
class Pruner:
    """Prunes until it is stopped; `run` is for a thread of its own."""

    database: Database
    rules: Sequence[Rule]
    log: Log

    def __post_init__(self) -> None:
        self.log = self.log.bind(task="pruner")
        self._stopping = threading.Event()

    def run(self) -> None:
        """Prune now and every ten minutes, until stopped."""
        while not self._stopping.is_set():
            self.prune_all()
            self._stopping.wait(EVERY_SECONDS)

    def stop(self) -> None:
        """Make `run` end after the batch that is being deleted."""
        self._stopping.set()

    def prune_all(self) -> None:
        """Prune each table; one that cannot be pruned is logged, and pruned the next time."""
        for rule in self.rules:
            try:
                self._prune(rule)
            except DATABASE_ERRORS as error:
                name, message, _ = failures.describe(error)
                table = rule.prunable.name
                self.log.warning("table not pruned", table=table, error=name, reason=message)

    def _prune(self, rule: Rule) -> None:
        before = datetime.now(UTC) - rule.keep
        batch, total = PrunedBatch(BATCH_ROWS, BEGINNING), 0
        while batch.rows == BATCH_ROWS and not self._stopping.is_set():
            began = time.monotonic()
            with self.database.begin() as connection:
                batch = prune(connection, rule.prunable, before=before, after=batch.last)
            total += batch.rows
            if batch.rows == BATCH_ROWS:
                self._stopping.wait(_PAUSE * (time.monotonic() - began))
        if total:
            self.log.info("table pruned", table=rule.prunable.name, rows=total)
