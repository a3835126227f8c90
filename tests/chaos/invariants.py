"""The invariants that hold once all work is done, whatever faults were injected before.

Each takes the state and returns a sentence for each violation.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from services.inventory.store import State
from shared.messaging.topology import topics_matched
from shared.storage.inbox import DISCARDED, HANDLED
from tests.chaos.state import INITIAL_STOCK, SystemState

Invariant = Callable[[SystemState], list[str]]


def each_fact_is_published_once(state: SystemState) -> list[str]:
    """1. The outboxes have one row for each committed fact, and all rows are sent."""
    found = Counter((each.topic, each.subject) for each in state.outbox)
    expected = set(_facts(state))
    allowed = expected | {
        ("stock.ran_short", order_id)
        for order_id, row in state.reservations.items()
        if row["state"] in (State.SHORT, State.CANCELLED)
    }
    return [
        *_each(
            state.context.confirmed - state.orders.keys(),
            "{} was confirmed to the customer and is missing",
        ),
        *_each(expected - found.keys(), "{} happened and was not published"),
        *_each(found.keys() - allowed, "{} was published and did not happen"),
        *_each((fact for fact, times in found.items() if times > 1), "{} was published twice"),
        *_each((s.event_id for s in state.outbox if not s.is_sent), "{} was not sent"),
    ]


def _facts(state: SystemState) -> Iterator[tuple[str, str]]:
    times = {"placed_at": "order.placed", "paid_at": "payment.received"}
    for order_id, order in state.orders.items():
        for time, topic in (times | {"cancelled_at": "order.cancelled"}).items():
            if order[time]:
                yield topic, order_id
        if (order["cancel_reason"] or "").startswith("out of stock"):
            yield "stock.ran_short", order_id
    for order_id, reservation in state.reservations.items():
        if reservation["state"] in (State.RESERVED, State.RELEASED):
            yield "stock.reserved", order_id
        elif reservation["state"] == State.SHORT:
            yield "stock.ran_short", order_id
    for order_id, shipment in state.shipments.items():
        if shipment["shipped_at"]:
            yield "order.shipped", order_id


def no_event_is_lost(state: SystemState) -> list[str]:
    """2. Each service has applied, discarded or dead every event that it subscribed to.

    A dead letter that was applied, such as a duplicate, is shown as applied by `shop dead show`.
    """
    published = {each.event_id: each.topic for each in state.outbox}
    published |= state.context.unprocessable
    published |= {key: lie.topic for key, lie in state.context.lies.items()}
    violations: list[str] = []
    for name, topics in state.topics.items():
        subscribed = {key for key, topic in published.items() if topics_matched(topics, topic)}
        subscribed |= {key for key, only_to in state.context.sent_to_one.items() if only_to == name}
        known = state.inbox[name]
        dead = set(state.broker.dead.get(name, ()))
        deleted = {key for service, key in state.context.deleted if service == name}
        lost = subscribed - known.keys() - dead - deleted
        violations += _each(lost, f"{{}} is neither applied, discarded nor dead in {name}")
        foreign = (known.keys() | dead) - subscribed
        violations += _each(foreign, f"{{}} is in {name} and was not sent there")
        applied = {key for key in dead if known.get(key) == HANDLED}
        shown = {key for service, key in state.broker.shown_applied if service == name}
        violations += _each(
            applied - shown, f"{{}} is a dead letter of {name}, which has applied it"
        )
    return violations


def only_unprocessable_messages_are_dead(state: SystemState) -> list[str]:
    """3. Only messages that cannot be processed are dead, not those that a fault delayed."""
    context = state.context
    unprocessable = context.unprocessable.keys() | context.sent_to_one.keys() | context.lies.keys()
    violations: list[str] = []
    for name in state.topics.keys() - state.context.limited:
        processable = set(state.broker.dead.get(name, ())) - unprocessable
        violations += _each(processable, f"{{}} is dead in {name} and could have been handled")
    return violations


def effects_happen_once(state: SystemState) -> list[str]:
    """4. Each event has its effects once; duplicates of a mail share its Message-ID."""
    handled = {name: _handled(state, name) for name in state.inbox}
    shipped = Counter(s.subject for s in state.outbox if s.topic == "order.shipped")
    recorded = {row["message_id"].strip("<").partition(".")[0] for row in state.sent_mails}
    kinds = Counter((row["order_id"], row["kind"]) for row in state.sent_mails)
    return [
        *_differ("analytics counted", state.facts, "it handled", handled["analytics"]),
        *_differ("mails were recorded for", recorded, "email handled", handled["email"]),
        *_each((key for key, times in kinds.items() if times > 1), "{} was mailed twice"),
        *_each((key for key, times in shipped.items() if times > 1), "{} was shipped twice"),
        *_mailed(state),
    ]


def _mailed(state: SystemState) -> list[str]:
    if state.context.mails is None:
        return []
    taken = set(state.context.mails)
    recorded = {row["message_id"] for row in state.sent_mails}
    # An event that died after its mail was sent leaves a mail without a record.
    dead = set(state.broker.dead.get("email", ()))
    unknown = {each for each in taken - recorded if each[1:].partition(".")[0] not in dead}
    return [
        *_each(recorded - taken, "the mail {} is recorded and was not sent"),
        *_each(unknown, "the mail {} was sent and is not recorded"),
    ]


def totals_agree(state: SystemState) -> list[str]:
    """5. Stock, points, money and shipments agree with the orders."""
    return [*_stock(state), *_points(state), *_money(state), *_shipments(state)]


def _stock(state: SystemState) -> Iterator[str]:
    reserved: Counter[str] = Counter()
    for order_id, row in state.reservations.items():
        if row["state"] == State.RESERVED:
            reserved.update(row["items"])
            if row["items"] != state.lines.get(order_id):
                yield f"{order_id} has other items reserved than were ordered"
    for sku, row in state.products.items():
        pieces = row["available"] + row["reserved"]
        expected = INITIAL_STOCK[sku] + state.context.restocked.get(sku, 0)
        if pieces != expected:
            yield f"the stock of {sku} is {pieces} instead of {expected}"
        if row["reserved"] != reserved[sku]:
            yield f"{sku} has {row['reserved']} reserved for orders of {reserved[sku]}"


def _points(state: SystemState) -> Iterator[str]:
    excused = _excused(state, "loyalty")
    for order_id, order in state.orders.items():
        award = state.awards.get(order_id)
        has = award["points"] or 0 if award and not award["taken_back_at"] else 0
        due = 0 if order["cancelled_at"] else int(order["total_amount"])
        if has != due and order_id not in excused:
            yield f"{order_id} has {has} points instead of {due}"
    yield from _each(state.awards.keys() - state.orders.keys(), "{} has points and no order")


def _money(state: SystemState) -> Iterator[str]:
    due = sum(
        (
            order["total_amount"]
            for order in state.orders.values()
            if order["paid_at"] and not order["cancelled_at"]
        ),
        Decimal(0),
    )
    paid = sum(
        (order["total_amount"] for order in state.orders.values() if order["paid_at"]),
        Decimal(0),
    )
    refunded = sum(
        (order["refunded_amount"] or Decimal(0) for order in state.orders.values()), Decimal(0)
    )
    if paid - refunded != due:
        yield f"{paid} was paid and {refunded} refunded for orders of {due}"
    if state.revenue != due and not _excused(state, "analytics"):
        yield f"analytics counts {state.revenue} for orders of {due}"


def _shipments(state: SystemState) -> Iterator[str]:
    excused = _excused(state, "shipping") | _excused(state, "inventory")
    for order_id, order in state.orders.items():
        reservation = state.reservations.get(order_id)
        reserved = reservation is not None and reservation["state"] == State.RESERVED
        due = bool(reserved and order["paid_at"])
        shipment = state.shipments.get(order_id)
        shipped = bool(shipment and shipment["shipped_at"])
        if shipped != due and order_id not in excused:
            yield f"{order_id} is {'wrongly' if shipped else 'not'} shipped"
        if shipped and order["cancelled_at"]:
            yield f"{order_id} is shipped and cancelled"
        if shipped and not order["shipped_at"] and order_id not in _excused(state, "orders"):
            yield f"{order_id} is shipped and orders has not recorded it"


def history_is_complete(state: SystemState) -> list[str]:
    """6. The history holds every event that was sent."""
    sent = {each.event_id for each in state.outbox if each.is_sent}
    return _each(sent - state.broker.history, "{} was sent and is not in the history")


def queues_are_empty(state: SystemState) -> list[str]:
    """7. Nothing is ready, unacknowledged or delayed."""
    return [f"{each} is left" for each in state.broker.left]


def lies_are_not_believed(state: SystemState) -> list[str]:
    """8. Each service has refused the forged messages, for the right reason, and no others."""
    lies = state.context.lies.values()
    violations: list[str] = []
    for name, topics in state.topics.items():
        told = {each.recorded_as: each.error for each in lies if topics_matched(topics, each.topic)}
        refused = state.refused[name]
        violations += _each(refused.keys() - told.keys(), f"{{}} is refused by {name}, and genuine")
        if name in state.context.limited:
            continue  # a lie that was there when its connections were lost has no attempt left
        wrong = {key for key, error in told.items() if refused.get(key) != error}
        violations += _each(wrong, f"{{}} is a lie, and {name} has not refused it for that")
    return violations


INVARIANTS: tuple[Invariant, ...] = (
    each_fact_is_published_once,
    no_event_is_lost,
    only_unprocessable_messages_are_dead,
    effects_happen_once,
    totals_agree,
    history_is_complete,
    queues_are_empty,
    lies_are_not_believed,
)


def violations(state: SystemState) -> list[str]:
    """Every violation of every invariant."""
    return [
        f"{invariant.__name__}: {each}" for invariant in INVARIANTS for each in invariant(state)
    ]


def _handled(state: SystemState, service: str) -> set[str]:
    return {key for key, outcome in state.inbox[service].items() if outcome == HANDLED}


def _excused(state: SystemState, service: str) -> set[str]:
    """Orders with an event that is dead or was discarded in that service."""
    outcomes = state.inbox[service].items()
    lacking = {key for key, outcome in outcomes if outcome == DISCARDED}
    lacking |= set(state.broker.dead.get(service, ()))
    return {each.subject for each in state.outbox if each.event_id in lacking}


def _each(found: Iterable[object], sentence: str) -> list[str]:
    return [sentence.format(each) for each in sorted(map(str, found))]


def _differ(what: str, found: Iterable[str], other: str, expected: Iterable[str]) -> list[str]:
    found, expected = set(found), set(expected)
    return [
        *_each(found - expected, f"{what} {{}}, and not {other}"),
        *_each(expected - found, f"{other} {{}}, and not {what}"),
    ]
