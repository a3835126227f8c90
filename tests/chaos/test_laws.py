"""Each law notices when it is broken, and only then."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from services.email.mailer import Mailer
from services.orders.paying import Payment, pay_order
from services.orders.placing import NewOrder, place_order
from services.orders.service import orders
from shared.runtime.settings import Settings
from shared.testing import Stage
from shop import registry
from tests.chaos import holdings, laws
from tests.chaos.evidence import Evidence, World, gathered


class Small:
    """The shop after one order that was shipped and one that ran short, to be tampered with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        mailer = Mailer.from_settings(Settings(home=folder))
        self.stage = Stage(folder, registry.all_services(), gateway={"email": mailer})
        self.databases = self.stage.databases
        self.world = World(told=frozenset({"ORD-1", "ORD-2"}))
        shipped = self._place("ORD-1", {"product-1": 2})
        self._place("ORD-2", {"product-3": 8})
        with orders.unit_of_work(self.databases["orders"]) as work:
            pay_order(Payment(order_id="ORD-1", amount=shipped), work)
        self.stage.play()

    def _place(self, order_id: str, items: dict[str, int]) -> object:
        new = NewOrder(
            order_id=order_id, customer_email="a@b.example", shipping_address="here", items=items
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
    def evidence(self) -> Evidence:
        held = holdings.embedded(self.folder / "broker.db", self.databases)
        return gathered(self.databases, held, self.world)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    small = Small(tmp_path)
    yield small
    small.stage.close()


def test_what_went_well_breaks_no_law(small: Small) -> None:
    assert laws.breaches(small.evidence) == []
    assert len(small.evidence.said) == 7  # so that it was not for want of events


Tampering = Callable[[Small], None]


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

ANOTHER_MAIL = """
    INSERT INTO sent_mails SELECT '<' || substr(message_id, 3), order_id, kind, "to", subject,
        sent_at FROM sent_mails WHERE kind = 'shipping'
"""


@pytest.mark.parametrize(
    ("law", "tamper", "told"),
    [
        pytest.param(law, tamper, told, id=f"{law.__name__}: {told}")
        for law, tamper, told in (
            (
                laws.every_fact_is_said_and_sent,
                _sql("orders", "DELETE FROM outbox WHERE topic = 'payment.received'"),
                "is a fact and was never said",
            ),
            (
                laws.every_fact_is_said_and_sent,
                _sql("orders", "UPDATE orders SET paid_at = NULL WHERE order_id = 'ORD-1'"),
                "was said and is no fact",
            ),
            (
                laws.every_fact_is_said_and_sent,
                _sql("shipping", COPY_OF_SHIPPED),
                "was said twice",
            ),
            (
                laws.every_fact_is_said_and_sent,
                _sql("inventory", "UPDATE outbox SET sent_at = NULL WHERE number = 1"),
                "was not sent",
            ),
            (
                laws.every_fact_is_said_and_sent,
                lambda small: setattr(small, "world", World(told=frozenset({"ORD-3"}))),
                "was promised and is not there",
            ),
            (
                laws.nothing_is_dropped,
                _sql("loyalty", "DELETE FROM inbox WHERE subject = 'ORD-1'"),
                "never reached an end in loyalty",
            ),
            (
                laws.nothing_is_dropped,
                _sql("inventory", "DELETE FROM outbox WHERE topic = 'stock.reserved'"),
                "which nobody sent there",
            ),
            (
                laws.nothing_is_dropped,
                lambda small: setattr(small, "world", World(strangers={"?": "order.placed"})),
                "? never reached an end in email",
            ),
            (
                laws.nothing_is_dropped,
                _broker(DEAD_AND_APPLIED),
                "which applied it",
            ),
            (
                laws.nothing_dies_in_vain,
                _broker(DEAD_AND_APPLIED),
                "died in inventory, and could have been handled",
            ),
            (
                laws.nothing_happens_twice,
                _sql("analytics", "DELETE FROM facts WHERE type = 'order.shipped.v1'"),
                "and not analytics counted",
            ),
            (
                laws.nothing_happens_twice,
                _sql("shipping", COPY_OF_SHIPPED),
                "was shipped twice",
            ),
            (
                laws.nothing_happens_twice,
                _sql("email", ANOTHER_MAIL),
                "was mailed as two mails",
            ),
            (
                laws.nothing_happens_twice,
                lambda small: setattr(small, "world", World(mails=[])),
                "is on record and was never sent",
            ),
            (
                laws.nothing_happens_twice,
                lambda small: setattr(small, "world", World(mails=["<x.shipping@shop>"])),
                "was sent and is not on record",
            ),
            (
                laws.the_books_balance,
                _sql("inventory", "UPDATE products SET available = 97 WHERE sku = 'product-1'"),
                "of product-1 there are 99 pieces, of 100",
            ),
            (
                laws.the_books_balance,
                _sql(
                    "inventory",
                    "UPDATE products SET available = 96, reserved = 4 WHERE sku = 'product-1'",
                ),
                "4 pieces are reserved, for orders of 2",
            ),
            (
                laws.the_books_balance,
                _sql("loyalty", "UPDATE awards SET points = 198 WHERE order_id = 'ORD-1'"),
                "ORD-1 has 198 points, and should have 99",
            ),
            (
                laws.the_books_balance,
                _sql("loyalty", "UPDATE awards SET taken_back_at = NULL WHERE order_id = 'ORD-2'"),
                "ORD-2 has 196 points, and should have 0",
            ),
            (
                laws.the_books_balance,
                _sql("orders", "UPDATE orders SET refunded_amount = 1 WHERE order_id = 'ORD-1'"),
                "given back",
            ),
            (
                laws.the_books_balance,
                _sql("analytics", "UPDATE facts SET amount = 1 WHERE amount > 1"),
                "analytics counts",
            ),
            (
                laws.the_books_balance,
                _sql("shipping", "UPDATE shipments SET shipped_at = NULL WHERE order_id = 'ORD-1'"),
                "ORD-1 is not shipped, and should be",
            ),
            (
                laws.the_history_is_whole,
                _broker("DELETE FROM history WHERE topic = 'stock.ran_short'"),
                "is not in the history",
            ),
            (laws.nothing_is_left, _broker(DELAYED), "email: 1, of which 0 held is left"),
        )
    ],
)
def test_a_broken_law_is_reported(
    small: Small, law: laws.Law, tamper: Tampering, told: str
) -> None:
    tamper(small)

    assert any(told in sentence for sentence in law(small.evidence))


def test_a_dead_letter_is_an_end_and_excuses_what_follows_from_it(small: Small) -> None:
    [event_id] = {
        each.event_id
        for each in small.evidence.said
        if (each.topic, each.subject) == ("order.placed", "ORD-1")
    }
    small.sql("loyalty", "DELETE FROM inbox WHERE subject = 'ORD-1'")
    small.sql("loyalty", "UPDATE awards SET points = NULL WHERE order_id = 'ORD-1'")
    evidence = small.evidence

    held = replace(evidence.held, dead={**evidence.held.dead, "loyalty": [event_id]})
    of_its_attempts = replace(evidence.world, limited=frozenset({"loyalty"}))

    assert laws.breaches(evidence) != []
    assert laws.breaches(replace(evidence, held=held, world=of_its_attempts)) == []
    assert laws.breaches(replace(evidence, held=held)) == [
        f"nothing_dies_in_vain: {event_id} died in loyalty, and could have been handled"
    ]
