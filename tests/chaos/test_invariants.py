"""Each invariant reports its violation, and nothing else."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from services.email.mailer import Mailer
from services.orders.paying import Payment, pay_order
from services.orders.placing import NewOrder, place_order
from services.orders.service import orders
from shared.messaging.topology import topics_matched
from shared.runtime.settings import Settings
from shared.testing import Stage
from shop import registry
from tests.chaos import broker_contents, invariants
from tests.chaos.state import Lie, RunContext, SystemState, read_state


class SmallShop:
    """A shop after one shipped order and one out of stock; tests tamper with its data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        mailer = Mailer.from_settings(Settings(home=folder))
        self.stage = Stage(folder, registry.all_services(), gateway={"email": mailer})
        self.databases = self.stage.databases
        self.context = RunContext(confirmed=frozenset({"ORD-1", "ORD-2"}))
        shipped = self._place("ORD-1", {"product-1": 2})
        self._place("ORD-2", {"product-3": 8})
        with orders.unit_of_work(self.databases["orders"]) as work:
            pay_order(Payment(order_id="ORD-1", amount=shipped), work)
        self.stage.play()

    def _place(self, order_id: str, items: dict[str, int]) -> object:
        new = NewOrder(
            order_id=order_id,
            customer_email="a@b.example",
            shipping_address="1 Main St",
            items=items,
        )
        with orders.unit_of_work(self.databases["orders"]) as work:
            return place_order(new, work).total_amount

    def sql(self, service: str, statement: str) -> None:
        with self.databases[service].begin() as connection:
            changed = connection.execute(text(statement)).rowcount
        assert changed > 0, "nothing was tampered with"

    def broker_sql(self, statement: str) -> None:
        broker = self.stage.broker._file
        with broker.opened() as connection:
            assert connection.execute(statement).rowcount > 0, "nothing was tampered with"

    @property
    def state(self) -> SystemState:
        broker = broker_contents.embedded(self.folder / "broker.db", self.databases)
        return read_state(self.databases, broker, self.context)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallShop]:
    small = SmallShop(tmp_path)
    yield small
    small.stage.close()


def test_an_undisturbed_run_violates_no_invariant(small: SmallShop) -> None:
    assert invariants.violations(small.state) == []
    assert len(small.state.outbox) == 7  # there are events to check


Tampering = Callable[[SmallShop], None]


def _sql(service: str, statement: str) -> Tampering:
    return lambda small: small.sql(service, statement)


def _broker(statement: str) -> Tampering:
    return lambda small: small.broker_sql(statement)


COPY_OF_SHIPPED = """
    INSERT INTO outbox (event_id, topic, event_type, subject, occurred_at, body, sent_at)
    SELECT 'ffffffffffffffffffffffffffffffff', topic, event_type, subject, occurred_at, body,
           sent_at FROM outbox WHERE topic = 'order.shipped'
"""

DELAYED = """
    INSERT INTO messages (queue, event_id, type, replays, low_priority, ready_at)
    VALUES ('email', 'x', 'order.placed.v1', 0, 0, 9e9)
"""

DEAD_AND_APPLIED = """
    INSERT INTO messages (queue, event_id, type, replays, low_priority, reason)
    SELECT 'inventory.dead', event_id, type, 0, 0, 'rejected' FROM history
    WHERE topic = 'order.placed' LIMIT 1
"""

LIE = Lie(topic="order.placed", recorded_as="sha256:0", error="ForgedEvent")

REFUSED = """
    INSERT INTO failures
        (event_id, event_type, attempt, replays, outcome, error, message, traceback)
    VALUES ('sha256:1', 'order.placed.v1', 1, 0, 'dead', 'ForgedEvent', '', '')
"""

ANOTHER_MAIL = """
    INSERT INTO sent_mails SELECT '<' || substr(message_id, 3), order_id, kind, "to", subject,
        sent_at FROM sent_mails WHERE kind = 'shipping'
"""


@pytest.mark.parametrize(
    ("invariant", "tamper", "sentence"),
    [
        pytest.param(invariant, tamper, sentence, id=f"{invariant.__name__}: {sentence}")
        for invariant, tamper, sentence in (
            (
                invariants.each_fact_is_published_once,
                _sql("orders", "DELETE FROM outbox WHERE topic = 'payment.received'"),
                "happened and was not published",
            ),
            (
                invariants.each_fact_is_published_once,
                _sql("orders", "UPDATE orders SET paid_at = NULL WHERE order_id = 'ORD-1'"),
                "was published and did not happen",
            ),
            (
                invariants.each_fact_is_published_once,
                _sql("shipping", COPY_OF_SHIPPED),
                "was published twice",
            ),
            (
                invariants.each_fact_is_published_once,
                _sql("inventory", "UPDATE outbox SET sent_at = NULL WHERE number = 1"),
                "was not sent",
            ),
            (
                invariants.each_fact_is_published_once,
                lambda small: setattr(small, "context", RunContext(confirmed=frozenset({"ORD-3"}))),
                "was confirmed to the customer and is missing",
            ),
            (
                invariants.no_event_is_lost,
                _sql("loyalty", "DELETE FROM inbox WHERE subject = 'ORD-1'"),
                "is neither applied, discarded nor dead in loyalty",
            ),
            (
                invariants.no_event_is_lost,
                _sql("inventory", "DELETE FROM outbox WHERE topic = 'stock.reserved'"),
                "and was not sent there",
            ),
            (
                invariants.no_event_is_lost,
                lambda small: setattr(
                    small, "context", RunContext(unprocessable={"?": "order.placed"})
                ),
                "? is neither applied, discarded nor dead in email",
            ),
            (
                invariants.no_event_is_lost,
                _broker(DEAD_AND_APPLIED),
                "which has applied it",
            ),
            (
                invariants.only_unprocessable_messages_are_dead,
                _broker(DEAD_AND_APPLIED),
                "is dead in inventory and could have been handled",
            ),
            (
                invariants.effects_happen_once,
                _sql("analytics", "DELETE FROM facts WHERE type = 'order.shipped.v1'"),
                "and not analytics counted",
            ),
            (
                invariants.effects_happen_once,
                _sql("shipping", COPY_OF_SHIPPED),
                "was shipped twice",
            ),
            (
                invariants.effects_happen_once,
                _sql("email", ANOTHER_MAIL),
                "was mailed twice",
            ),
            (
                invariants.effects_happen_once,
                lambda small: setattr(small, "context", RunContext(mails=[])),
                "is recorded and was not sent",
            ),
            (
                invariants.effects_happen_once,
                lambda small: setattr(small, "context", RunContext(mails=["<x.shipping@shop>"])),
                "was sent and is not recorded",
            ),
            (
                invariants.totals_agree,
                _sql("inventory", "UPDATE products SET available = 9997 WHERE sku = 'product-1'"),
                "the stock of product-1 is 9999 instead of 10000",
            ),
            (
                invariants.totals_agree,
                _sql(
                    "inventory",
                    "UPDATE products SET available = 9996, reserved = 4 WHERE sku = 'product-1'",
                ),
                "product-1 has 4 reserved for orders of 2",
            ),
            (
                invariants.totals_agree,
                _sql("loyalty", "UPDATE awards SET points = 198 WHERE order_id = 'ORD-1'"),
                "ORD-1 has 198 points instead of 99",
            ),
            (
                invariants.totals_agree,
                _sql("loyalty", "UPDATE awards SET taken_back_at = NULL WHERE order_id = 'ORD-2'"),
                "ORD-2 has 196 points instead of 0",
            ),
            (
                invariants.totals_agree,
                _sql("orders", "UPDATE orders SET refunded_amount = 1 WHERE order_id = 'ORD-1'"),
                "refunded for orders",
            ),
            (
                invariants.totals_agree,
                _sql("analytics", "UPDATE facts SET amount = 1 WHERE amount > 1"),
                "analytics counts",
            ),
            (
                invariants.totals_agree,
                _sql("shipping", "UPDATE shipments SET shipped_at = NULL WHERE order_id = 'ORD-1'"),
                "ORD-1 is not shipped",
            ),
            (
                invariants.history_is_complete,
                _broker("DELETE FROM history WHERE topic = 'stock.ran_short'"),
                "is not in the history",
            ),
            (invariants.queues_are_empty, _broker(DELAYED), "email: 1, of which 0 held is left"),
            (
                invariants.no_event_is_lost,
                lambda small: setattr(small, "context", RunContext(lies={"?": LIE})),
                "? is neither applied, discarded nor dead in email",
            ),
            (
                invariants.lies_are_not_believed,
                lambda small: setattr(small, "context", RunContext(lies={"?": LIE})),
                "sha256:0 is a lie, and email has not refused it for that",
            ),
            (
                invariants.lies_are_not_believed,
                _sql("email", REFUSED),
                "sha256:1 is refused by email, and genuine",
            ),
        )
    ],
)
def test_a_violation_is_reported(
    small: SmallShop, invariant: invariants.Invariant, tamper: Tampering, sentence: str
) -> None:
    tamper(small)

    assert any(sentence in each for each in invariant(small.state))


def test_a_dead_letter_explains_its_missing_effects(small: SmallShop) -> None:
    [event_id] = {
        each.event_id
        for each in small.state.outbox
        if (each.topic, each.subject) == ("order.placed", "ORD-1")
    }
    small.sql("loyalty", "DELETE FROM inbox WHERE subject = 'ORD-1'")
    small.sql("loyalty", "UPDATE awards SET points = NULL WHERE order_id = 'ORD-1'")
    state = small.state

    broker = replace(state.broker, dead={**state.broker.dead, "loyalty": [event_id]})
    limited = replace(state.context, limited=frozenset({"loyalty"}))

    assert invariants.violations(state) != []
    assert invariants.violations(replace(state, broker=broker, context=limited)) == []
    [violation] = invariants.violations(replace(state, broker=broker))
    assert violation.startswith(f"only_unprocessable_messages_are_dead: {event_id} is dead in")


def test_a_refused_lie_violates_no_invariant(small: SmallShop) -> None:
    small.sql("email", REFUSED)
    lie = replace(LIE, recorded_as="sha256:1")
    state = small.state
    others = {
        name: {"sha256:1": "ForgedEvent"}
        for name, topics in state.topics.items()
        if name != "email" and topics_matched(topics, lie.topic)
    }
    dead = {name: ["?"] for name in (*others, "email")}

    state = replace(
        state,
        refused={**state.refused, **others},
        broker=replace(state.broker, dead=dead),
        context=replace(state.context, lies={"?": lie}),
    )

    assert invariants.violations(state) == []


def test_a_dead_letter_that_was_deleted_with_its_queue_is_not_lost(small: SmallShop) -> None:
    state = small.state
    sent = replace(state.context, sent_to_one={"?": "orders"})
    deleted = replace(sent, deleted=frozenset({("orders", "?")}))

    assert invariants.violations(replace(state, context=sent)) != []
    assert invariants.violations(replace(state, context=deleted)) == []
