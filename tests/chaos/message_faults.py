"""Faults caused by messages, and by a missing dead queue."""

import json
import signal
from functools import partial
from random import Random
from uuid import uuid4

from services.orders.placing import NewOrder, place_order
from services.orders.service import orders
from shared.messaging.ports.publisher import Message
from shared.messaging.topology import dead_queue
from shared.storage.database import DATABASE_ERRORS
from tests.chaos.any_environment import LOW_LIMIT_SERVICE
from tests.chaos.environment import ChaosEnvironment
from tests.chaos.faulty_service import HANGS, KILLS
from tests.chaos.in_flight import in_flight, retry_until_done, wait_for_value
from tests.chaos.servers import ADMIN
from tests.support.waiting import eventually


def repeat_and_reorder(environment: ChaosEnvironment, random: Random) -> str:
    """Publish old events again, in random order, while the services are working."""
    copies: list[Message] = []
    for name in ("orders", "inventory", "shipping"):
        rows = wait_for_value(partial(environment.sent_by, name))
        copies += [
            Message(
                event_id=str(row.event_id),
                topic=row.topic,
                type=row.event_type,
                body=row.body.encode(),
                source=name,
                correlation_id=str(row.correlation_id or ""),
                occurred_at=row.occurred_at,
            )
            for row in random.sample(rows, min(60, len(rows)))
        ]
    random.shuffle(copies)
    hit = wait_for_value(lambda: in_flight(environment))
    retry_until_done(lambda: environment.publish(*copies))
    return f"{len(copies)} copies among {hit}"


def send_unprocessable_messages(environment: ChaosEnvironment, random: Random) -> str:
    """Publish malformed messages, unknown types and a future version among valid events.

    A service retries a version that it does not know until its limit, so only one with a low limit
    gets it.
    """
    event = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "/orders",
        "time": "2026-01-01T00:00:00Z",
        "datacontenttype": "application/json",
        "data": {},
    }
    future = event | {"type": "order.placed.v9"}
    unknown = event | {"type": "lamp.lit.v1", "id": str(uuid4()), "source": f"/{ADMIN}"}
    lacking = event | {"type": "order.placed.v1", "id": str(uuid4())}
    unprocessable = [
        _message("order.placed", b"\xff\x00 not even text"),
        _message("order.cancelled", b"[]"),
        _message("payment.received", b"{}"),
        _message("order.placed", json.dumps(lacking).encode(), event_id=lacking["id"]),
        _message("lamp.lit", json.dumps(unknown).encode(), event_id=unknown["id"], source=ADMIN),
    ]
    random.shuffle(unprocessable)
    hit = wait_for_value(lambda: in_flight(environment))
    environment.unprocessable.update({each.event_id: each.topic for each in unprocessable})
    later = _message(
        LOW_LIMIT_SERVICE,
        json.dumps(future).encode(),
        event_id=future["id"],
        only_to=LOW_LIMIT_SERVICE,
        source=LOW_LIMIT_SERVICE,
    )
    environment.sent_to_one[later.event_id] = LOW_LIMIT_SERVICE
    retry_until_done(lambda: environment.publish(*unprocessable, later))
    return f"{len(unprocessable) + 1} unprocessable messages among {hit}"


def _message(
    topic: str,
    body: bytes,
    *,
    event_id: object = None,
    only_to: str | None = None,
    source: str = "orders",
) -> Message:
    return Message(
        event_id=str(event_id or uuid4()),
        topic=topic,
        type=f"{topic}.v1",
        body=body,
        source=source,
        only_to=only_to,
    )


def poison(environment: ChaosEnvironment, random: Random) -> str:
    """Send a message that kills its process at each attempt, until it is dead."""
    process = environment.supervisor.of(LOW_LIMIT_SERVICE)[0]
    killed = process.exit_codes.count(-signal.SIGKILL)
    wait_for_value(lambda: in_flight(environment))
    event_id = order(environment, f"{KILLS}{LOW_LIMIT_SERVICE}-{random.getrandbits(40)}")
    wait_for_value(lambda: event_id in environment.dead_letter_ids(LOW_LIMIT_SERVICE), within=480)
    return f"{process.name} was killed {process.exit_codes.count(-signal.SIGKILL) - killed} times"


def hang(environment: ChaosEnvironment, random: Random) -> str:
    """Make a handler hang until its process ends itself."""
    process = environment.supervisor.of(LOW_LIMIT_SERVICE)[0]
    before = process.exit_codes.count(70)

    def has_ended() -> bool:
        # An order whose first two attempts other faults ended does not hang: then another.
        order(environment, f"{HANGS}{LOW_LIMIT_SERVICE}-{random.getrandbits(40)}")
        try:
            eventually(lambda: process.exit_codes.count(70) > before, within=60)
        except AssertionError:
            return False
        return True

    wait_for_value(has_ended, within=300)
    return f"{process.name} hung in its handler, and ended with 70"


def order(environment: ChaosEnvironment, order_id: str) -> str:
    """Place an order, trying until the database accepts it; return the event's id."""
    new = NewOrder(
        order_id=order_id,
        customer_email="a@b.example",
        shipping_address="1 Main St",
        items={"product-1": 1},
    )

    def placed() -> str | None:
        try:
            with orders.unit_of_work(environment.databases["orders"]) as work:
                return str(place_order(new, work).correlation_id)
        except DATABASE_ERRORS:
            return None

    return wait_for_value(placed)


def recreate_dead_queue(environment: ChaosEnvironment, random: Random) -> str:
    """Delete the dead queue while a dead letter is sent to it; set-up then recreates it."""
    del random
    service = "orders"
    deleted = set(wait_for_value(lambda: ["", *environment.dead_letter_ids(service)])[1:])
    environment.deleted |= {(service, each) for each in deleted}
    retry_until_done(lambda: environment.management.delete("queues", "/", dead_queue(service)))
    letter = _message(service, b"not even JSON", only_to=service, source=service)
    environment.sent_to_one[letter.event_id] = service
    retry_until_done(lambda: environment.publish(letter))
    hit = wait_for_value(lambda: _undeliverable_dead_letters(environment, service))
    retry_until_done(lambda: environment.shop("setup"))
    wait_for_value(lambda: letter.event_id in environment.dead_letter_ids(service))
    return hit


def _undeliverable_dead_letters(environment: ChaosEnvironment, service: str) -> str | None:
    found = environment.management.get("queues", "/", service) or {}
    count = found.get("messages_dlx", 0)
    return f"{count} dead letter of {service} without a queue" if count else None
