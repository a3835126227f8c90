"""Two processes of one service, as far as its database can tell."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from sqlalchemy.event import listen

from shared.events import DomainEvent
from shared.messaging.codec import encode
from shared.messaging.ports.consumer import Delivery
from shared.runtime.reactor import DeliveryResult, Reactor
from shared.runtime.service import AnyService
from shared.storage.database import Database


def race(
    service: AnyService, database: Database, *runners: Sequence[Sequence[DomainEvent]]
) -> list[DeliveryResult]:
    """Let each runner react to its batches, all runners at once; they set out anew for each batch.

    Returns:
        What was done with each delivery, of all runners.

    Raises:
        AssertionError: the database ended a transaction, for a deadlock as a rule; a reactor
            hides that by taking the batch one by one.
    """
    line = Barrier(len(runners), timeout=60)
    refused: list[str] = []
    listen(
        database.engine,
        "handle_error",
        lambda context: refused.append(str(context.original_exception)),
    )

    def run(batches: Sequence[Sequence[DomainEvent]]) -> list[DeliveryResult]:
        reactor = Reactor(service=service, database=database, retry=service.retry)
        reacted: list[DeliveryResult] = []
        for batch in batches:
            line.wait()
            reacted += reactor.react([_delivery(event, service.name) for event in batch]).reacted
        return reacted

    with ThreadPoolExecutor(len(runners)) as pool:
        reacted = [each for done in pool.map(run, runners) for each in done]
    assert refused == []
    return reacted


def _delivery(event: DomainEvent, queue: str) -> Delivery:
    return Delivery(
        queue=queue,
        body=encode(event, source="elsewhere"),
        event_id=str(event.event_id),
        type=event.type,
        attempt=1,
        replays=0,
        token=None,
    )
