"""The laws that hold once all is quiet, whatever was done to the system before.

Each takes the evidence and answers with a sentence for each breach; none means that it is kept.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from services.inventory.store import State
from shared.messaging.topology import topics_matched
from shared.storage.inbox import DISCARDED, HANDLED
from tests.chaos.evidence import TO_BEGIN_WITH, Evidence

Law = Callable[[Evidence], list[str]]


def every_fact_is_said_and_sent(evidence: Evidence) -> list[str]:
    """1. Outbox rows are the committed facts, each once, and all are sent."""
    found = Counter((each.topic, each.subject) for each in evidence.said)
    expected = set(_facts(evidence))
    allowed = expected | {
        ("stock.ran_short", order_id)
        for order_id, row in evidence.reservations.items()
        if row["state"] in (State.SHORT, State.CANCELLED)
    }
    return [
        *_each(evidence.world.told - evidence.orders.keys(), "{} was promised and is not there"),
        *_each(expected - found.keys(), "{} is a fact and was never said"),
        *_each(found.keys() - allowed, "{} was said and is no fact"),
        *_each((fact for fact, times in found.items() if times > 1), "{} was said twice"),
        *_each((s.event_id for s in evidence.said if not s.is_sent), "{} was not sent"),
    ]


def _facts(evidence: Evidence) -> Iterator[tuple[str, str]]:
    times = {"placed_at": "order.placed", "paid_at": "payment.received"}
    for order_id, order in evidence.orders.items():
        for time, topic in (times | {"cancelled_at": "order.cancelled"}).items():
            if order[time]:
                yield topic, order_id
        if (order["cancel_reason"] or "").startswith("out of stock"):
            yield "stock.ran_short", order_id
    for order_id, reservation in evidence.reservations.items():
        if reservation["state"] in (State.RESERVED, State.RELEASED):
            yield "stock.reserved", order_id
        elif reservation["state"] == State.SHORT:
            yield "stock.ran_short", order_id
    for order_id, shipment in evidence.shipments.items():
        if shipment["shipped_at"]:
            yield "order.shipped", order_id


def nothing_is_dropped(evidence: Evidence) -> list[str]:
    """2. In every service applied, dead and discarded together are what it subscribed to.

    A dead letter that was applied, a second copy say, is shown as such to who looks at it.
    """
    published = {each.event_id: each.topic for each in evidence.said}
    published |= evidence.world.strangers
    breaches: list[str] = []
    for name, topics in evidence.topics.items():
        subscribed = {key for key, topic in published.items() if topics_matched(topics, topic)}
        subscribed |= {key for key, only_to in evidence.world.letters.items() if only_to == name}
        known = evidence.inbox[name]
        dead = set(evidence.held.dead.get(name, ()))
        lost = subscribed - known.keys() - dead
        breaches += _each(lost, f"{{}} never reached an end in {name}")
        strange = (known.keys() | dead) - subscribed
        breaches += _each(strange, f"{{}} ended in {name}, which nobody sent there")
        applied = {key for key in dead if known.get(key) == HANDLED}
        shown = {key for service, key in evidence.held.shown_applied if service == name}
        breaches += _each(applied - shown, f"{{}} is a dead letter of {name}, which applied it")
    return breaches


def nothing_dies_in_vain(evidence: Evidence) -> list[str]:
    """3. What is dead is what nobody can handle; what was only in the way of a fault is not."""
    hopeless = evidence.world.strangers.keys() | evidence.world.letters.keys()
    breaches: list[str] = []
    for name in evidence.topics.keys() - evidence.world.limited:
        innocent = set(evidence.held.dead.get(name, ())) - hopeless
        breaches += _each(innocent, f"{{}} died in {name}, and could have been handled")
    return breaches


def nothing_happens_twice(evidence: Evidence) -> list[str]:
    """4. Effects are those of each event once; copies of a mail have one Message-ID."""
    handled = {name: _handled(evidence, name) for name in evidence.inbox}
    shipped = Counter(s.subject for s in evidence.said if s.topic == "order.shipped")
    recorded = {row["message_id"].strip("<").partition(".")[0] for row in evidence.sent_mails}
    kinds = Counter((row["order_id"], row["kind"]) for row in evidence.sent_mails)
    return [
        *_differ("analytics counted", evidence.facts, "it handled", handled["analytics"]),
        *_differ("mails were recorded for", recorded, "email handled", handled["email"]),
        *_each((key for key, times in kinds.items() if times > 1), "{} was mailed as two mails"),
        *_each((key for key, times in shipped.items() if times > 1), "{} was shipped twice"),
        *_mailed(evidence),
    ]


def _mailed(evidence: Evidence) -> list[str]:
    if evidence.world.mails is None:
        return []
    taken = set(evidence.world.mails)
    recorded = {row["message_id"] for row in evidence.sent_mails}
    # What died after it had been mailed leaves a mail and no record.
    dead = set(evidence.held.dead.get("email", ()))
    unknown = {each for each in taken - recorded if each[1:].partition(".")[0] not in dead}
    return [
        *_each(recorded - taken, "the mail {} is on record and was never sent"),
        *_each(unknown, "the mail {} was sent and is not on record"),
    ]


def the_books_balance(evidence: Evidence) -> list[str]:
    """5. Stock, points, money and shipments agree with the orders."""
    return [*_stock(evidence), *_points(evidence), *_money(evidence), *_shipments(evidence)]


def _stock(evidence: Evidence) -> Iterator[str]:
    held: Counter[str] = Counter()
    for order_id, row in evidence.reservations.items():
        if row["state"] == State.RESERVED:
            held.update(row["items"])
            if row["items"] != evidence.lines.get(order_id):
                yield f"{order_id} has other pieces reserved than were ordered"
    for sku, row in evidence.products.items():
        pieces = row["available"] + row["reserved"]
        there = TO_BEGIN_WITH[sku] + evidence.world.restocked.get(sku, 0)
        if pieces != there:
            yield f"of {sku} there are {pieces} pieces, of {there}"
        if row["reserved"] != held[sku]:
            yield f"of {sku} {row['reserved']} pieces are reserved, for orders of {held[sku]}"


def _points(evidence: Evidence) -> Iterator[str]:
    excused = _excused(evidence, "loyalty")
    for order_id, order in evidence.orders.items():
        award = evidence.awards.get(order_id)
        has = award["points"] or 0 if award and not award["taken_back_at"] else 0
        due = 0 if order["cancelled_at"] else int(order["total_amount"])
        if has != due and order_id not in excused:
            yield f"{order_id} has {has} points, and should have {due}"
    yield from _each(evidence.awards.keys() - evidence.orders.keys(), "{} has points and no order")


def _money(evidence: Evidence) -> Iterator[str]:
    due = sum(
        (
            order["total_amount"]
            for order in evidence.orders.values()
            if order["paid_at"] and not order["cancelled_at"]
        ),
        Decimal(0),
    )
    paid = sum(
        (order["total_amount"] for order in evidence.orders.values() if order["paid_at"]),
        Decimal(0),
    )
    refunded = sum(
        (order["refunded_amount"] or Decimal(0) for order in evidence.orders.values()), Decimal(0)
    )
    if paid - refunded != due:
        yield f"{paid} was taken and {refunded} given back, for orders of {due}"
    if evidence.revenue != due and not _excused(evidence, "analytics"):
        yield f"analytics counts {evidence.revenue}, for orders of {due}"


def _shipments(evidence: Evidence) -> Iterator[str]:
    excused = _excused(evidence, "shipping") | _excused(evidence, "inventory")
    for order_id, order in evidence.orders.items():
        reservation = evidence.reservations.get(order_id)
        reserved = reservation is not None and reservation["state"] == State.RESERVED
        due = bool(reserved and order["paid_at"])
        shipment = evidence.shipments.get(order_id)
        shipped = bool(shipment and shipment["shipped_at"])
        if shipped != due and order_id not in excused:
            yield f"{order_id} is {'' if shipped else 'not '}shipped, and should{_not(due)} be"
        if shipped and order["cancelled_at"]:
            yield f"{order_id} is shipped and cancelled"
        if shipped and not order["shipped_at"] and order_id not in _excused(evidence, "orders"):
            yield f"{order_id} is shipped, which orders was not told"


def the_history_is_whole(evidence: Evidence) -> list[str]:
    """6. The history holds every event that was sent."""
    sent = {each.event_id for each in evidence.said if each.is_sent}
    return _each(sent - evidence.held.history, "{} was sent and is not in the history")


def nothing_is_left(evidence: Evidence) -> list[str]:
    """7. Nothing is ready, unacknowledged or delayed."""
    return [f"{each} is left" for each in evidence.held.left]


LAWS: tuple[Law, ...] = (
    every_fact_is_said_and_sent,
    nothing_is_dropped,
    nothing_dies_in_vain,
    nothing_happens_twice,
    the_books_balance,
    the_history_is_whole,
    nothing_is_left,
)


def breaches(evidence: Evidence) -> list[str]:
    """Every breach of every law."""
    return [f"{law.__name__}: {each}" for law in LAWS for each in law(evidence)]


def _handled(evidence: Evidence, service: str) -> set[str]:
    return {key for key, outcome in evidence.inbox[service].items() if outcome == HANDLED}


def _excused(evidence: Evidence, service: str) -> set[str]:
    """Orders of which that service lacks an event, since it is dead or was discarded there."""
    outcomes = evidence.inbox[service].items()
    lacking = {key for key, outcome in outcomes if outcome == DISCARDED}
    lacking |= set(evidence.held.dead.get(service, ()))
    return {each.subject for each in evidence.said if each.event_id in lacking}


def _each(found: Iterable[object], sentence: str) -> list[str]:
    return [sentence.format(each) for each in sorted(map(str, found))]


def _differ(what: str, found: Iterable[str], other: str, expected: Iterable[str]) -> list[str]:
    found, expected = set(found), set(expected)
    return [
        *_each(found - expected, f"{what} {{}}, and not {other}"),
        *_each(expected - found, f"{other} {{}}, and not {what}"),
    ]


def _not(due: bool) -> str:  # noqa: FBT001 - a word of a sentence
    return "" if due else " not"
