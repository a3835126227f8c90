"""How fast history is read, an order's timeline told, and a replay consumed.

It makes 100,000 events in an empty shop, so it must never be run against one that is in use:

    SHOP_HOME=$(mktemp -d) python -m benchmarks.history                        # embedded
    SHOP_HOME=$(mktemp -d) SHOP_BROKER_URL=amqp://… SHOP_BROKER_ADMIN_URL=http://… \
        python -m benchmarks.history

The databases are SQLite files unless SHOP_DATABASE_URL says otherwise. A service's live rate is
that at which it handles its queue, filled before it starts; beside it, in turn, that at which it
handles the same events while `shop events replay` brings them. The median of the ratios counts.
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
from shop import registry


def main() -> int:
    """Make the events, and time what is done with them."""
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
            ratios = [_compare(service, number, again=each > 0) for each in range(arguments.rounds)]
            print(
                f"    replayed at {median(ratios):.2f} × of the live rate "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )
        _timeline(services, broker, f"ORD-{arguments.events // 8}")
    processes = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    most = max(resource.getrusage(each).ru_maxrss for each in processes) // 1024
    print(f"memory of the reader, the service and the replay: {most} MiB each at most")
    return 0


def _compare(service: AnyService, number: int, *, again: bool) -> float:
    """The rate of a replay, by the live rate; both of so many events."""
    if again:
        _forget(service)
        _replay(service)
    live = _consume("live", service, number)
    _forget(service)
    return _consume("replayed", service, number, meanwhile=partial(_replay, service)) / live


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3, help="of live and replayed, in turn")
    return parser.parse_args()


def _publish(broker: Broker, number: int) -> None:
    publisher = broker.publisher()
    with _timed("published") as count:
        for start in range(0, number // 4, 500):
            orders = range(start, min(start + 500, number // 4))
            events = [event for order in orders for event in _story(f"ORD-{order}")]
            count(len(events))
            if set(publisher.publish([_message(each) for each in events])) != {None}:
                raise SystemExit("the broker refused some")


def _story(order: str) -> list[DomainEvent]:
    items = {"product-1": 2, "product-2": 1}
    placed = OrderPlaced(
        order_id=order,
        customer_email="customer@example.com",
        items=items,
        shipping_address="123 Main St, Springfield",
        total_amount=Decimal("99.99"),
        currency="EUR",
    )
    caused = {"correlation_id": placed.event_id, "causation_id": placed.event_id}
    return [
        placed,
        StockReserved(order_id=order, items=items, **caused),
        PaymentReceived(order_id=order, amount=Decimal("99.99"), payment_method="card", **caused),
        OrderShipped(order_id=order, tracking_number="T-1", carrier="Post", **caused),
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


def _timeline(services: Sequence[AnyService], broker: Broker, order: str) -> None:
    with _timed("timeline of one order") as count:
        teller = TimelineBuilder(
            services=services,
            opening=database_of,
            history=broker.history,
            holding=lambda service: bool(broker.depth(service.name).ready),
        )
        told = teller.build(order)
        count(len(told.happenings))
    for note in told.notes:
        print(f"    {note}")


def _forget(service: AnyService) -> None:
    from shared.storage import table_digests  # noqa: PLC0415 - only to have everything handled anew

    with database_of(service) as database, database.begin() as connection:
        table_digests.truncate(connection)


def _replay(service: AnyService) -> None:
    """As a person does it: in a process of its own, beside the service's."""
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
    """Let a service handle so many events; answers how many a second."""
    handled = iter(range(1, number + 1))
    left = [number]

    def hear(*_: object) -> None:
        left[0] = number - next(handled, number)

    with Path(os.devnull).open("w") as nowhere:
        group = ServiceGroup([service], log_to(nowhere, settings_for()), listeners=[hear])
        began = time.monotonic()
        group.start()
        meanwhile()
        while left[0]:
            time.sleep(0.01)
        took = time.monotonic() - began
        group.stop(20)
    print(
        f"{f'consumed {what} by {service.name}':<45} {number:>8,} in {took:6.2f} s"
        f"  {number / took:>9,.0f}/s"
    )
    return number / took


@contextmanager
def _timed(what: str) -> Iterator[Callable[[int], None]]:
    counted = [0]
    began = time.monotonic()

    def count(number: int) -> None:
        counted[0] += number

    yield count
    took = time.monotonic() - began
    print(f"{what:<45} {counted[0]:>8,} in {took:6.2f} s  {counted[0] / took:>9,.0f}/s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
