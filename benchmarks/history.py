"""Measures reading the history, building the timeline of one order, and consuming a replay.

It publishes 100,000 events to an empty shop; never run it against a shop that is in use:

    SHOP_HOME=$(mktemp -d) python -m benchmarks.history                        # embedded
    SHOP_HOME=$(mktemp -d) SHOP_BROKER_URL=amqp://… SHOP_BROKER_ADMIN_URL=http://… \
        python -m benchmarks.history

The databases are SQLite files unless SHOP_DATABASE_URL says otherwise. The live rate is the rate at
which a service handles a queue that was filled before it started. The replay rate is the rate at
which it handles the same events while `shop events replay` sends them. Both are measured in turn;
the result is the median of their ratios.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from statistics import median
from subprocess import run

from services.analytics.service import analytics
from services.loyalty.service import loyalty
from shared.events import DomainEvent, OrderPlaced, OrderShipped, PaymentReceived, StockReserved
from shared.history.reading import EventFilter, EventReader
from shared.messaging.codec import encode
from shared.messaging.connect import broker_at
from shared.messaging.ports.broker import Broker
from shared.messaging.ports.publisher import Message
from shared.operations.console import database_of
from shared.operations.history.timeline_builder import TimelineBuilder
from shared.runtime.logs import log_to
from shared.runtime.process import ServiceGroup
from shared.runtime.service import AnyService
from shared.runtime.settings import settings_for
from shared.runtime.setup import set_up
from shared.storage import table_digests
from shop import registry


def main() -> int:
    """Publish the events, and print each measurement."""
    arguments = _arguments()
    services = registry.all_services()
    for _ in set_up(services):
        pass
    with closing(broker_at(settings_for().broker_url_of("benchmark"))) as broker:
        if broker.history().end():
            print("this shop has a history: use an empty one", file=sys.stderr)
            return 2
        _publish(broker, arguments.events)
        _read(broker)
        for service, number in (loyalty, arguments.events // 4), (analytics, arguments.events):
            ratios = [_compare(service, number, is_first=not i) for i in range(arguments.rounds)]
            print(
                f"    replayed at {median(ratios):.2f} × of the live rate "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )
        _timeline(services, broker, f"ORD-{arguments.events // 8}")
    processes = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    peak_mib = max(resource.getrusage(each).ru_maxrss for each in processes) // 1024
    print(f"memory of the reader, the service and the replay: {peak_mib} MiB each at most")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3, help="live and replay in turn")
    return parser.parse_args()


def _publish(broker: Broker, number: int) -> None:
    publisher = broker.publisher()
    with _timed("published") as count:
        for start in range(0, number // 4, 500):
            orders = range(start, min(start + 500, number // 4))
            events = [event for order in orders for event in _events(f"ORD-{order}")]
            count(len(events))
            if set(publisher.publish([_message(event) for event in events])) != {None}:
                raise SystemExit("the broker rejected some events")


def _events(order_id: str) -> list[DomainEvent]:
    items = {"product-1": 2, "product-2": 1}
    placed = OrderPlaced(
        order_id=order_id,
        customer_email="customer@example.com",
        items=items,
        shipping_address="123 Main St, Springfield",
        total_amount=Decimal("99.99"),
        currency="EUR",
    )
    caused = {"correlation_id": placed.event_id, "causation_id": placed.event_id}
    return [
        placed,
        StockReserved(order_id=order_id, items=items, **caused),
        PaymentReceived(
            order_id=order_id, amount=Decimal("99.99"), payment_method="card", **caused
        ),
        OrderShipped(order_id=order_id, tracking_number="T-1", carrier="Post", **caused),
    ]


def _message(event: DomainEvent) -> Message:
    return Message(
        event_id=str(event.event_id),
        topic=event.topic,
        type=event.type,
        body=encode(event, source="orders"),
        source="orders",
        correlation_id=str(event.correlation_id or ""),
        occurred_at=event.occurred_at,
    )


def _read(broker: Broker) -> None:
    history = broker.history()
    with _timed("history read") as count:
        count(sum(1 for _ in EventReader(history, EventFilter(), end=history.end())))


def _timeline(services: Sequence[AnyService], broker: Broker, order_id: str) -> None:
    with _timed("timeline of one order") as count:
        timeline = TimelineBuilder(
            services=services,
            open_database=database_of,
            open_history=broker.history,
            has_messages=lambda service: bool(broker.depth(service.name).ready),
        ).build(order_id)
        count(len(timeline.entries))
    for note in timeline.notes:
        print(f"    {note}")


def _compare(service: AnyService, number: int, *, is_first: bool) -> float:
    """Return the replay rate divided by the live rate."""
    if not is_first:
        _clear(service)
        _replay(service)
    live = _consume("live", service, number)
    _clear(service)
    return _consume("replayed", service, number, meanwhile=partial(_replay, service)) / live


def _clear(service: AnyService) -> None:
    """Let a service handle every event again."""
    with database_of(service) as database, database.begin() as connection:
        table_digests.truncate(connection)


def _replay(service: AnyService) -> None:
    """Replay the history in a process of its own, as a person does."""
    with _timed(f"replay: copied to the queue of {service.name}") as count:
        command = [sys.executable, "-m", "shop.cli", "events", "replay", "--to", service.name]
        done = run([*command, "--json"], check=True, capture_output=True)
        count(int(json.loads(done.stdout)["events"]))


def _consume(
    what: str,
    service: AnyService,
    number: int,
    *,
    meanwhile: Callable[[], None] = lambda: None,
) -> float:
    """Run a service until it has handled that many events; return events per second."""
    handled = iter(range(1, number + 1))
    remaining = [number]

    def count(*_: object) -> None:
        remaining[0] = number - next(handled, number)

    with Path(os.devnull).open("w") as null:
        group = ServiceGroup([service], log_to(null, settings_for()), listeners=[count])
        began = time.monotonic()
        group.start()
        meanwhile()
        while remaining[0]:
            time.sleep(0.01)
        seconds = time.monotonic() - began
        group.stop(20)
    _print(f"consumed {what} by {service.name}", number, seconds)
    return number / seconds


@contextmanager
def _timed(what: str) -> Iterator[Callable[[int], None]]:
    """Print the rate of what the block counts."""
    total = [0]
    began = time.monotonic()

    def count(number: int) -> None:
        total[0] += number

    yield count
    _print(what, total[0], time.monotonic() - began)


def _print(what: str, number: int, seconds: float) -> None:
    print(f"{what:<45} {number:>8,} in {seconds:6.2f} s  {number / seconds:>9,.0f}/s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
