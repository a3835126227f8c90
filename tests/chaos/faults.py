"""What is done to the system. Each fault waits for work in flight and strikes at that moment.

A strike answers with what it hit, and returns when the fault is over; it raises `NothingInFlight`
when there never was anything to hit.
"""

import json
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from random import Random
from typing import TypeVar
from uuid import uuid4

import psycopg
from pika.exceptions import AMQPError
from sqlalchemy import func, select

from services.orders.placing import NewOrder, place_order
from services.orders.service import orders
from shared.errors import BrokerUnavailable
from shared.messaging.port import Message
from shared.messaging.topology import dead_queue
from shared.storage.database import DATABASE_ERRORS, OutcomeUnknown
from shared.storage.tables import inbox, outbox
from tests.chaos import holdings, servers
from tests.chaos.crew import Member
from tests.chaos.failing import HANGS, KILLS
from tests.chaos.site import LIMITED, Site
from tests.support.waiting import eventually

T = TypeVar("T")

PAST_THE_HEARTBEAT = 40.0
"""Seconds: what is silent is noticed after 2 × (12 + 5)."""

PAST_THE_DATABASE_TIMEOUT = 20.0
"""Seconds: a connection without an answer is given up after 15."""

MOMENT_SECONDS = 120.0
"""Until there must have been something to hit."""

UNREACHABLE = (
    psycopg.OperationalError,
    AMQPError,
    OSError,
    HTTPException,
    BrokerUnavailable,
    ValueError,
)
"""What looking raises while another fault has the server; ValueError for half an answer."""


class NothingInFlight(AssertionError):
    """There was no moment at which the fault would have hit work in flight."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    Attributes:
        family: what it is done to.
        strike: does it; answers what it hit.
        is_short: whether the short run has it.
    """

    name: str
    family: str
    strike: Callable[[Site, Random], str]
    is_short: bool = False


def caught(look: Callable[[], T | None]) -> T:
    """What it finds, at the moment when it finds something."""
    until = time.monotonic() + MOMENT_SECONDS
    while time.monotonic() < until:
        try:
            if found := look():
                return found
        except UNREACHABLE:
            hold(0.2)
        hold(0.005)
    raise NothingInFlight


def hold(seconds: float) -> None:
    """Let a fault last."""
    threading.Event().wait(seconds)


def in_flight(site: Site) -> str | None:
    """What services have under way, if it is more than nothing."""
    held, writing = site.unacknowledged(), site.transactions()
    return f"{held} unacknowledged, {len(writing)} transactions" if held and writing else None


def _frozen_reacting(site: Site, member: Member) -> str:
    """Freeze a process inside a transaction of its handlers; it is left frozen."""

    def look() -> str | None:
        member.signal(signal.SIGSTOP)
        reacting = False
        try:
            reacting = member.process is not None and site.is_reacting(member)
        finally:
            if not reacting:
                member.signal(signal.SIGCONT)
        return f"{member.name} in a transaction" if reacting else None

    return caught(look)


def _anybody(site: Site, mix: Random, *but: str) -> Member:
    return mix.choice([each for each in site.crew.members.values() if each.service not in but])


# Processes.


def kill_before_commit(site: Site, mix: Random) -> str:
    victim = _anybody(site, mix)
    hit = _frozen_reacting(site, victim)
    site.crew.end(victim, signal.SIGKILL)
    return hit


def kill_before_acknowledgement(site: Site, mix: Random) -> str:
    """Its acknowledgements cannot pass any more; after the next commit it is killed."""
    victim = mix.choice([site.crew.members[name] for name in ("shipping", "analytics", "loyalty")])
    gate = site.ways[victim.name]["broker"]

    def look() -> str | None:
        if not site.unacknowledged(victim.service):
            return None
        site.gates.cut(gate, "up")
        before = _handled(site, victim.service)
        eventually(lambda: _handled(site, victim.service) > before, within=3)
        victim.signal(signal.SIGSTOP)
        committed = _handled(site, victim.service) - before
        held = site.unacknowledged(victim.service)
        return f"{victim.name}: {committed} committed, {held} unacknowledged" if held else None

    def look_again() -> str | None:
        hit = _or_none(look)
        if hit is None:
            victim.signal(signal.SIGCONT)
            site.gates.heal(gate)
            hold(0.2)
        return hit

    try:
        hit = caught(look_again)
        site.crew.end(victim, signal.SIGKILL)
    finally:
        site.gates.half_open(gate)  # what it wrote last is lost with it
        site.gates.heal(gate)
        victim.signal(signal.SIGCONT)
    return hit


def _or_none(look: Callable[[], str | None]) -> str | None:
    try:
        return look()
    except AssertionError:
        return None


def kill_relay_before_mark(site: Site, mix: Random) -> str:
    """A lock lets the relay claim and publish, and makes it wait where it would mark."""
    del mix
    victim = site.crew.members["orders"]

    def look() -> str | None:
        url = servers.database_url(site.postgres, "orders")
        with psycopg.connect(url, connect_timeout=2) as locking:
            with site.crew.frozen(victim):
                eventually(lambda: _unsent(site) > 0, within=5)
                locking.execute("SET lock_timeout = '1s'")
                locking.execute("LOCK TABLE outbox IN SHARE MODE")
            count = _marking(site)
            site.crew.end(victim, signal.SIGKILL)
            locking.rollback()
        return f"{count} confirmed and not marked"

    return caught(lambda: _or_none(look))


def _unsent(site: Site) -> int:
    rows = site.admin("SELECT count(*) FROM outbox WHERE sent_at IS NULL", database="orders")
    return int(rows[0][0])


def _marking(site: Site) -> int:
    """How many rows a relay has claimed and is about to mark."""
    eventually(
        lambda: site.admin(
            """SELECT 1 FROM pg_stat_activity WHERE datname = 'orders'
            AND application_name = 'orders' AND wait_event_type = 'Lock'
            AND query LIKE 'UPDATE outbox%'"""
        ),
        within=5,
    )
    return _unsent(site)


def terminate_each(site: Site, mix: Random) -> str:
    codes = []
    for member in mix.sample(list(site.crew.members.values()), len(site.crew.members)):
        _frozen_reacting(site, member)
        codes.append(site.crew.end(member, signal.SIGTERM))
    return f"{len(codes)} processes, each in a transaction; exit codes {sorted(set(codes))}"


def freeze_consumer(site: Site, mix: Random) -> str:
    victim = _anybody(site, mix, "orders")
    hit = _frozen_reacting(site, victim)
    try:
        hold(PAST_THE_HEARTBEAT)
    finally:
        victim.signal(signal.SIGCONT)
    return hit


# Network.


def cut_from_broker(site: Site, mix: Random) -> str:
    return _cut(site, mix, lambda gates, gate: gates.cut(gate, "up", "down"))


def deafen_to_broker(site: Site, mix: Random) -> str:
    return _cut(site, mix, lambda gates, gate: gates.cut(gate, "down"))


def half_open_to_broker(site: Site, mix: Random) -> str:
    return _cut(site, mix, lambda gates, gate: gates.half_open(gate))


def _cut(site: Site, mix: Random, sever: Callable[..., None]) -> str:
    victim = _anybody(site, mix)
    gate = site.ways[victim.name]["broker"]

    def look() -> str | None:
        held = site.unacknowledged(victim.service)
        return f"{victim.name}: {held} unacknowledged" if held else None

    hit = caught(look)
    sever(site.gates, gate)
    try:
        hold(PAST_THE_HEARTBEAT)
    finally:
        site.gates.heal(gate)
    return hit


def cut_from_database(site: Site, mix: Random) -> str:
    victim = _anybody(site, mix)
    gate = site.ways[victim.name]["database"]

    def look() -> str | None:
        site.gates.cut(gate, "up", "down")
        if site.is_reacting(victim):
            return f"{victim.name} in a transaction"
        site.gates.heal(gate)
        return None

    try:
        hit = caught(look)
        hold(PAST_THE_DATABASE_TIMEOUT)
    finally:
        site.gates.heal(gate)
    return hit


# Broker.


def kill_broker(site: Site, mix: Random) -> str:
    hit = caught(lambda: in_flight(site))
    site.broker.kill()
    hold(mix.uniform(0, 5))
    site.broker.start()
    eventually(lambda: servers.broker_answers(site.broker), within=servers.BOOT_SECONDS)
    return hit


def freeze_broker(site: Site, mix: Random) -> str:
    del mix
    hit = caught(lambda: in_flight(site))
    site.broker.freeze()
    try:
        hold(PAST_THE_HEARTBEAT)
    finally:
        site.broker.thaw()
    return hit


def fill_broker(site: Site, mix: Random) -> str:
    """A memory alarm blocks whoever publishes; what they claimed stays claimed meanwhile."""
    del mix
    caught(lambda: in_flight(site))
    site.broker.run("rabbitmqctl", "set_vm_memory_high_watermark", "0.00001")
    try:
        hit = caught(lambda: _blocked_relays(site))
        hold(5)
    finally:
        site.broker.run("rabbitmqctl", "set_vm_memory_high_watermark", "0.6")
    return hit


def _blocked_relays(site: Site) -> str | None:
    """Relays that have waited a second for a confirm, with what they claimed locked."""
    rows = site.admin(
        """SELECT application_name FROM pg_stat_activity WHERE state = 'idle in transaction'
        AND query LIKE '%FOR UPDATE SKIP LOCKED%' AND clock_timestamp() - state_change > '1s'"""
    )
    names = sorted({name for (name,) in rows})
    return f"{', '.join(names)} blocked with what was claimed" if names else None


def remake_dead_queue(site: Site, mix: Random) -> str:
    """Deleted while a letter is on its way there; what was in it is gone with it."""
    del mix
    service = "orders"
    thrown_away = set(caught(lambda: ["", *_dead_ids(site, service)])[1:])
    assert thrown_away <= site.letters.keys()
    for each in thrown_away:
        del site.letters[each]
    site.management.delete("queues", "/", dead_queue(service))
    letter = _message(service, b"not even JSON", only_to=service)
    site.letters[letter.event_id] = service
    site.publish(letter)
    hit = caught(lambda: _on_its_way_to_the_dead(site, service))
    site.shop("setup")
    caught(lambda: letter.event_id in _dead_ids(site, service))
    return hit


def _dead_ids(site: Site, service: str) -> list[str]:
    url = site.settings["SHOP_BROKER_URL"]
    return list(holdings.rabbitmq(url, [service], expected=set(), left=[]).dead[service])


def _on_its_way_to_the_dead(site: Site, service: str) -> str | None:
    found = site.management.get("queues", "/", service) or {}
    count = found.get("messages_dlx", 0)
    return f"{count} dead letter of {service} without a place" if count else None


# Database.


def kill_database_in_commit(site: Site, mix: Random) -> str:
    """Commits wait unanswered, though on the disk, as for a second server; then it dies."""
    del mix

    def look() -> str | None:
        for statement in (
            "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
            "SELECT pg_reload_conf()",
        ):
            site.admin(statement)
        names = caught(lambda: _committing(site))
        site.admin("ALTER SYSTEM RESET synchronous_standby_names")  # holds from the next start
        return f"{len(names)} commits unanswered: {', '.join(sorted(set(names)))}"

    hit = caught(look)
    site.postgres.kill()
    site.postgres.start()
    eventually(lambda: servers.database_answers(site.postgres), within=servers.BOOT_SECONDS)
    return hit


def _committing(site: Site) -> list[str]:
    rows = site.admin("SELECT application_name FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    return [name for (name,) in rows]


def restart_database(site: Site, mix: Random) -> str:
    del mix
    hit = caught(lambda: in_flight(site))
    site.postgres.restart()
    eventually(lambda: servers.database_answers(site.postgres), within=servers.BOOT_SECONDS)
    return hit


def freeze_database(site: Site, mix: Random) -> str:
    del mix
    hit = caught(lambda: in_flight(site))
    site.postgres.freeze()
    try:
        hold(PAST_THE_DATABASE_TIMEOUT)
    finally:
        site.postgres.thaw()
    return hit


# Messages.


def repeat_and_reorder(site: Site, mix: Random) -> str:
    """Copies of what was sent, early and late ones mixed, while their services are at work."""
    copies: list[Message] = []
    for name in ("orders", "inventory", "shipping"):
        with site.databases[name].read() as connection:
            rows = connection.execute(select(outbox).where(outbox.c.sent_at.is_not(None))).all()
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
    site.publish(*copies)
    return f"{len(copies)} copies among {hit}"


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
    site.publish(*strangers)
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
    caught(lambda: event_id in _dead_ids(site, LIMITED))
    return f"{member.name} died {member.codes.count(-signal.SIGKILL) - killed} times of it"


def hang(site: Site, mix: Random) -> str:
    """A handler that never returns, until its process ends itself."""
    member = site.crew.of(LIMITED)[0]
    before = member.codes.count(70)
    order(site, f"{HANGS}{LIMITED}-{mix.getrandbits(40)}")
    eventually(lambda: member.codes.count(70) > before, within=90)
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
        except (*DATABASE_ERRORS, OutcomeUnknown):
            return None

    return caught(placed)


# Mail.


def mail_away(site: Site, mix: Random) -> str:
    site.mailbox.slow = 0.3
    hit = caught(lambda: _mailing(site))
    site.mailbox.close()
    site.mailbox.slow = 0.0
    try:
        hold(mix.uniform(3, 8))
    finally:
        site.mailbox.open()
    return hit


def mail_slow(site: Site, mix: Random) -> str:
    """Slower than the mailer has patience."""
    del mix
    site.mailbox.slow = 12.0
    try:
        hit = caught(lambda: _mailing(site))
        hold(15)
    finally:
        site.mailbox.slow = 0.0
    return hit


def mail_refusing(site: Site, mix: Random) -> str:
    del mix
    before = site.mailbox.refused
    site.mailbox.refusing = True
    try:
        caught(lambda: site.mailbox.refused >= before + 3)
    finally:
        site.mailbox.refusing = False
    return f"{site.mailbox.refused - before} mails refused with 451"


def _mailing(site: Site) -> str | None:
    return f"{site.mailbox.busy} mail under way" if site.mailbox.busy else None


def _handled(site: Site, service: str) -> int:
    with site.databases[service].read() as connection:
        return connection.execute(select(func.count()).select_from(inbox)).scalar_one()


SERVERS = (
    Fault("broker killed and restarted", "broker", kill_broker, is_short=True),
    Fault("broker frozen past the heartbeat", "broker", freeze_broker, is_short=True),
    Fault("broker out of memory", "broker", fill_broker),
    Fault("database killed in mid-commit", "database", kill_database_in_commit, is_short=True),
    Fault("database restarted", "database", restart_database),
    Fault("database frozen", "database", freeze_database),
    Fault("mail server away", "mail", mail_away, is_short=True),
    Fault("mail server slow", "mail", mail_slow),
    Fault("mail server refusing", "mail", mail_refusing),
)
"""One after the other, beside those of processes."""

PROCESSES = (
    Fault("consumer killed before its commit", "process", kill_before_commit, is_short=True),
    Fault(
        "consumer killed between commit and acknowledgement",
        "process",
        kill_before_acknowledgement,
        is_short=True,
    ),
    Fault(
        "relay killed between confirm and mark", "process", kill_relay_before_mark, is_short=True
    ),
    Fault("each service asked to stop, and restarted", "process", terminate_each),
    Fault("consumer frozen past the heartbeat", "process", freeze_consumer),
    Fault("network between service and broker cut", "network", cut_from_broker),
    Fault("network from broker to service cut", "network", deafen_to_broker),
    Fault("connection to the broker half open", "network", half_open_to_broker),
    Fault("network between service and database cut", "network", cut_from_database, is_short=True),
    Fault("duplicate, late and reordered deliveries", "message", repeat_and_reorder, is_short=True),
    Fault("malformed, unknown and future messages", "message", send_strangers, is_short=True),
    Fault("message that kills its process", "message", poison, is_short=True),
    Fault("handler that hangs", "message", hang),
    Fault("dead queue deleted and made again", "message", remake_dead_queue, is_short=True),
)
