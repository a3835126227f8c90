"""Faults that come as messages, and of where dead ones go."""

import json
import signal
from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Any
from uuid import uuid4

from sqlalchemy import select

from services.orders.placing import NewOrder, place_order
from services.orders.service import orders
from shared.messaging.ports.publisher import Message
from shared.messaging.topology import dead_queue
from shared.storage.database import DATABASE_ERRORS
from shared.storage.tables import outbox
from tests.chaos.failing import HANGS, KILLS
from tests.chaos.moments import caught, dead_ids, in_flight, insisted
from tests.chaos.site import LIMITED, Site
from tests.support.waiting import eventually


def repeat_and_reorder(site: Site, mix: Random) -> str:
    """Copies of what was sent, early and late ones mixed, while their services are at work."""
    copies: list[Message] = []
    for name in ("orders", "inventory", "shipping"):
        rows = caught(partial(_sent_by, site, name))
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
            for row in mix.sample(rows, min(60, len(rows)))
        ]
    mix.shuffle(copies)
    hit = caught(lambda: in_flight(site))
    insisted(lambda: site.publish(*copies))
    return f"{len(copies)} copies among {hit}"


def _sent_by(site: Site, service: str) -> Sequence[Any]:
    with site.databases[service].read() as connection:
        return connection.execute(select(outbox).where(outbox.c.sent_at.is_not(None))).all()


def send_strangers(site: Site, mix: Random) -> str:
    """Malformed, unknown and of the future, among good ones."""
    event = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "/elsewhere",
        "time": "2026-01-01T00:00:00Z",
        "datacontenttype": "application/json",
        "data": {},
    }
    future = event | {"type": "order.placed.v9"}
    unknown = event | {"type": "lamp.lit.v1", "id": str(uuid4())}
    lacking = event | {"type": "order.placed.v1", "id": str(uuid4())}
    strangers = [
        _message("order.placed", b"\xff\x00 not even text"),
        _message("order.cancelled", b"[]"),
        _message("payment.received", b"{}"),
        _message("order.placed", json.dumps(lacking).encode(), event_id=lacking["id"]),
        _message("order.placed", json.dumps(future).encode(), event_id=future["id"]),
        _message("lamp.lit", json.dumps(unknown).encode(), event_id=unknown["id"]),
    ]
    mix.shuffle(strangers)
    hit = caught(lambda: in_flight(site))
    site.strangers.update({each.event_id: each.topic for each in strangers})
    insisted(lambda: site.publish(*strangers))
    return f"{len(strangers)} strangers among {hit}"


def _message(
    topic: str, body: bytes, *, event_id: object = None, only_to: str | None = None
) -> Message:
    return Message(
        event_id=str(event_id or uuid4()),
        topic=topic,
        type=f"{topic}.v1",
        body=body,
        source="elsewhere",
        only_to=only_to,
    )


def poison(site: Site, mix: Random) -> str:
    """A message that kills its process, again and again, until it is dead."""
    member = site.crew.of(LIMITED)[0]
    killed = member.codes.count(-signal.SIGKILL)
    caught(lambda: in_flight(site))
    event_id = order(site, f"{KILLS}{LIMITED}-{mix.getrandbits(40)}")
    caught(lambda: event_id in dead_ids(site, LIMITED), within=480)
    return f"{member.name} died {member.codes.count(-signal.SIGKILL) - killed} times of it"


def hang(site: Site, mix: Random) -> str:
    """A handler that never returns, until its process ends itself."""
    member = site.crew.of(LIMITED)[0]
    before = member.codes.count(70)

    def has_ended() -> bool:
        # One that other faults took from it twice does not hang any more: then another.
        order(site, f"{HANGS}{LIMITED}-{mix.getrandbits(40)}")
        try:
            eventually(lambda: member.codes.count(70) > before, within=60)
        except AssertionError:
            return False
        return True

    caught(has_ended, within=300)
    return f"{member.name} hung in its handler, and ended with 70"


def order(site: Site, order_id: str) -> str:
    """One customer more, who has time; answers the event's id."""
    new = NewOrder(
        order_id=order_id,
        customer_email="a@b.example",
        shipping_address="here",
        items={"product-1": 1},
    )

    def placed() -> str | None:
        try:
            with orders.unit_of_work(site.databases["orders"]) as work:
                return str(place_order(new, work).correlation_id)
        except DATABASE_ERRORS:
            return None

    return caught(placed)


def remake_dead_queue(site: Site, mix: Random) -> str:
    """Deleted while a letter is on its way there; what was in it is gone with it."""
    del mix
    service = "orders"
    thrown_away = set(caught(lambda: ["", *dead_ids(site, service)])[1:])
    assert thrown_away <= site.letters.keys()
    for each in thrown_away:
        del site.letters[each]
    insisted(lambda: site.management.delete("queues", "/", dead_queue(service)))
    letter = _message(service, b"not even JSON", only_to=service)
    site.letters[letter.event_id] = service
    insisted(lambda: site.publish(letter))
    hit = caught(lambda: _on_its_way_to_the_dead(site, service))
    insisted(lambda: site.shop("setup"))
    caught(lambda: letter.event_id in dead_ids(site, service))
    return hit


def _on_its_way_to_the_dead(site: Site, service: str) -> str | None:
    found = site.management.get("queues", "/", service) or {}
    count = found.get("messages_dlx", 0)
    return f"{count} dead letter of {service} without a place" if count else None
