"""Reactors that run at the same time, like several processes of one service."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from sqlalchemy.event import listen

from shared.events import DomainEvent
from shared.runtime.reactor import DeliveryResult, Reactor
from shared.runtime.service import AnyService
from shared.storage.database import Database
from tests.support.deliveries import delivery_of


def race(
    service: AnyService, database: Database, *runners: Sequence[Sequence[DomainEvent]]
) -> list[DeliveryResult]:
    """Let each runner react to its batches in a thread; all begin each batch at the same time.

    Returns:
        The result of each delivery, of all runners.

    Raises:
        AssertionError: the database reported an error, usually a deadlock; a reactor would hide
            it, because it handles the deliveries of a failed batch one by one.
    """
    start = Barrier(len(runners), timeout=60)
    database_errors: list[str] = []
    listen(
        database.engine,
        "handle_error",
        lambda context: database_errors.append(str(context.original_exception)),
    )

    def run(batches: Sequence[Sequence[DomainEvent]]) -> list[DeliveryResult]:
        reactor = Reactor(service=service, database=database, retry=service.retry)
        results: list[DeliveryResult] = []
        for batch in batches:
            start.wait()
            results += reactor.react(
                [delivery_of(event, queue=service.name) for event in batch]
            ).results
        return results

    with ThreadPoolExecutor(len(runners)) as pool:
        results = [result for of_runner in pool.map(run, runners) for result in of_runner]
    assert database_errors == []
    return results
