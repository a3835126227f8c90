from collections.abc import Iterator
from decimal import Decimal
from email.headerregistry import Address
from email.message import Message
from pathlib import Path

import pytest

from services.email.mailer import Mailer
from services.email.refusals import MailRefused, MailRefusedForNow
from services.email.service import email
from shared.events import DomainEvent, OrderCancelled, OrderPlaced, OrderShipped
from shared.messaging.ports.consumer import Outcome
from shared.runtime.reactor import DeliveryResult
from shared.storage import tables
from shared.testing import Stage

CUSTOMER = "jane.canary@example.com"


class Outbasket:
    """A way for mails that keeps them, and refuses as often as it is told to."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.troubles: list[Exception] = []

    def send(self, message: Message) -> None:
        if self.troubles:
            raise self.troubles.pop(0)
        self.mails.append(message)

    def probe(self) -> None:
        """It is always there."""

    def close(self) -> None:
        """It holds nothing open."""

    def ids(self) -> list[str]:
        return [str(each["Message-ID"]) for each in self.mails]


@pytest.fixture
def outbasket() -> Outbasket:
    return Outbasket()


@pytest.fixture
def stage(tmp_path: Path, outbasket: Outbasket) -> Iterator[Stage]:
    mailer = Mailer(outbasket, sender=Address("Past Tense", "orders", "shop.example"))
    stage = Stage(tmp_path, [email], gateway={"email": mailer})
    yield stage
    stage.close()


def placed(order_id: str = "ORD-123", to: str = CUSTOMER) -> OrderPlaced:
    return OrderPlaced(
        order_id=order_id,
        customer_email=to,
        items={"product-1": 2, "product-2": 1},
        shipping_address="123 Main St, Springfield",
        total_amount=Decimal("99.99"),
        currency="EUR",
    )


def shipped(order_id: str = "ORD-123") -> OrderShipped:
    return OrderShipped(order_id=order_id, tracking_number="PT-1", carrier="Swift Post")


def cancelled(order_id: str = "ORD-123") -> OrderCancelled:
    return OrderCancelled(order_id=order_id, reason="short", refunded_amount=Decimal(0))


def kinds(stage: Stage) -> list[str]:
    with stage.store("email") as store:
        return [each["kind"] for each in store.sent()]


def play(stage: Stage, *events: DomainEvent) -> list[DeliveryResult]:
    stage.publish(*events)
    return stage.play()


def play_to_the_end(stage: Stage) -> list[DeliveryResult]:
    """Turn the clock past every delay until nothing is delivered any more."""
    reacted = stage.play()
    stage.clock.now += email.retry.max_delay + 1
    while more := stage.play():
        reacted += more
        stage.clock.now += email.retry.max_delay + 1
    return reacted


def test_an_order_is_confirmed_to_who_placed_it(stage: Stage, outbasket: Outbasket) -> None:
    play(stage, placed())

    (mail,) = outbasket.mails
    assert mail["To"] == CUSTOMER
    assert mail["Subject"] == "Your order ORD-123 is confirmed"


def test_shipping_and_cancellation_go_to_who_placed_the_order(
    stage: Stage, outbasket: Outbasket
) -> None:
    play(stage, placed(), placed("ORD-124", "other@example.com"))

    play(stage, shipped(), cancelled("ORD-124"))

    assert [mail["To"] for mail in outbasket.mails[2:]] == [CUSTOMER, "other@example.com"]
    assert kinds(stage) == ["confirmation", "confirmation", "shipping", "cancellation"]


def test_a_sent_mail_is_recorded_with_its_facts(stage: Stage) -> None:
    play(stage, placed())

    with stage.store("email") as store:
        (row,) = store.sent()
    assert row.pop("sent_at").tzinfo is not None
    assert row == {
        "order_id": "ORD-123",
        "kind": "confirmation",
        "to": CUSTOMER,
        "subject": "Your order ORD-123 is confirmed",
    }


@pytest.mark.parametrize("early", [shipped(), cancelled()], ids=["shipped", "cancelled"])
def test_what_comes_before_its_order_waits_for_it(
    stage: Stage, outbasket: Outbasket, early: DomainEvent
) -> None:
    (first,) = play(stage, early)
    assert (type(first.error).__name__, first.outcome) == ("NotKnownYet", Outcome.RETRY)

    play(stage, placed())
    play_to_the_end(stage)

    assert len(outbasket.mails) == 2
    assert {mail["To"] for mail in outbasket.mails} == {CUSTOMER}


def test_an_order_that_never_comes_kills_the_message_with_that_reason(
    stage: Stage, outbasket: Outbasket
) -> None:
    stage.publish(shipped())

    reacted = play_to_the_end(stage)

    assert len(reacted) == 31
    assert {type(each.error).__name__ for each in reacted[:-1]} == {"NotKnownYet"}
    assert type(reacted[-1].error).__name__ == "CustomerUnknown"
    assert reacted[-1].outcome is Outcome.DEAD
    assert not outbasket.mails


def test_a_confirmation_is_sent_also_after_the_cancellation_has_come(
    stage: Stage,
) -> None:
    play(stage, cancelled())

    play(stage, placed())
    play_to_the_end(stage)

    assert sorted(kinds(stage)) == ["cancellation", "confirmation"]


def test_a_mail_that_was_refused_for_now_is_sent_once_and_recorded_once(
    stage: Stage, outbasket: Outbasket
) -> None:
    outbasket.troubles = [MailRefusedForNow(), MailRefusedForNow()]
    stage.publish(placed())

    reacted = play_to_the_end(stage)

    assert [each.outcome for each in reacted] == [Outcome.RETRY, Outcome.RETRY, Outcome.DONE]
    assert len(outbasket.mails) == 1
    assert kinds(stage) == ["confirmation"]


def test_a_refused_mail_leaves_no_record_of_having_been_sent(
    stage: Stage, outbasket: Outbasket
) -> None:
    outbasket.troubles = [MailRefused()]

    (reacted,) = play(stage, placed())

    assert reacted.outcome is Outcome.DEAD
    assert kinds(stage) == []


def test_a_second_copy_of_a_mail_has_the_same_message_id_and_one_record(
    stage: Stage, outbasket: Outbasket
) -> None:
    event = placed()
    play(stage, event)
    # As when the process dies between the mail and the commit: the inbox knows nothing of it.
    with stage.databases["email"].begin() as connection:
        connection.execute(tables.inbox.delete())

    play(stage, event)

    assert outbasket.ids() == [f"<{event.event_id}.confirmation@shop.example>"] * 2
    assert kinds(stage) == ["confirmation"]


def test_who_watches_the_log_reads_what_was_mailed(stage: Stage) -> None:
    reacted = play(stage, placed("A"), placed("B")) + play(stage, shipped("A"), cancelled("B"))

    assert [each.notes for each in reacted[2:]] == [
        ("shipping notice mailed",),
        ("cancellation notice mailed",),
    ]


def test_a_copy_of_an_event_sends_nothing(stage: Stage, outbasket: Outbasket) -> None:
    event = placed()

    play(stage, event, event)

    assert len(outbasket.mails) == 1


def test_neither_deeds_nor_failures_hold_an_address(stage: Stage, outbasket: Outbasket) -> None:
    outbasket.troubles = [MailRefusedForNow(), ValueError(f"who is {CUSTOMER}?")]
    stage.publish(placed(), shipped("ORD-9"))

    reacted = play_to_the_end(stage)

    with stage.databases["email"].read() as connection:
        kept = connection.execute(tables.failures.select()).all()
    assert len(kept) >= 3
    assert "canary" not in repr(kept)
    assert "canary" not in repr([each.notes for each in reacted])


def test_the_last_mails_are_listed_oldest_first(stage: Stage) -> None:
    play(stage, placed("ORD-1"), placed("ORD-2"), placed("ORD-3"), shipped("ORD-1"))

    with stage.store("email") as store:
        last = [(each["order_id"], each["kind"]) for each in store.sent(limit=2)]
        about_one = [each["kind"] for each in store.sent(order_id="ORD-1")]

    assert last == [("ORD-3", "confirmation"), ("ORD-1", "shipping")]
    assert about_one == ["confirmation", "shipping"]
