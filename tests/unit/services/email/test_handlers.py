from collections.abc import Iterator
from decimal import Decimal
from email.headerregistry import Address
from pathlib import Path

import pytest

from services.email.errors import MailRefused, MailRefusedForNow
from services.email.mailer import Mailer
from services.email.mails import Mail
from services.email.service import email
from shared.events import DomainEvent, OrderCancelled, OrderPlaced, OrderShipped
from shared.messaging.ports.consumer import Outcome
from shared.runtime.reactor import DeliveryResult
from shared.storage import tables
from shared.testing import Stage

CUSTOMER = "jane.canary@example.com"


class RecordingTransport:
    """Keeps the emails; raises the errors in `failures` first, one for each email."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.failures: list[Exception] = []

    @property
    def place(self) -> str:
        return "a list"

    def send(self, mail: Mail) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.mails.append(mail)

    def probe(self) -> None:
        """Always available."""

    def close(self) -> None:
        """Nothing to close."""

    def ids(self) -> list[str]:
        return [str(mail.message["Message-ID"]) for mail in self.mails]


@pytest.fixture
def transport() -> RecordingTransport:
    return RecordingTransport()


@pytest.fixture
def stage(tmp_path: Path, transport: RecordingTransport) -> Iterator[Stage]:
    mailer = Mailer(transport, sender=Address("Past Tense", "orders", "shop.example"))
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
    return stage.play(errors="collect")


def play_until_settled(stage: Stage) -> list[DeliveryResult]:
    """Advance the clock past every retry delay until nothing is delivered any more."""
    results = stage.play(errors="collect")
    stage.clock.now += email.retry.max_delay + 1
    while more := stage.play(errors="collect"):
        results += more
        stage.clock.now += email.retry.max_delay + 1
    return results


def test_an_order_is_confirmed_to_its_customer(stage: Stage, transport: RecordingTransport) -> None:
    play(stage, placed())

    (mail,) = transport.mails
    assert mail.message["To"] == CUSTOMER
    assert mail.message["Subject"] == "Your order ORD-123 is confirmed"


def test_shipping_and_cancellation_emails_go_to_the_order_s_customer(
    stage: Stage, transport: RecordingTransport
) -> None:
    play(stage, placed(), placed("ORD-124", "other@example.com"))

    play(stage, shipped(), cancelled("ORD-124"))

    assert [mail.message["To"] for mail in transport.mails[2:]] == [CUSTOMER, "other@example.com"]
    assert kinds(stage) == ["cancellation", "shipping", "confirmation", "confirmation"]


def test_a_sent_email_is_recorded(stage: Stage) -> None:
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
def test_an_event_that_arrives_before_its_order_is_retried(
    stage: Stage, transport: RecordingTransport, early: DomainEvent
) -> None:
    (first,) = play(stage, early)
    assert (type(first.error).__name__, first.outcome) == ("NotKnownYet", Outcome.RETRY)

    play(stage, placed())
    play_until_settled(stage)

    assert len(transport.mails) == 2
    assert {mail.message["To"] for mail in transport.mails} == {CUSTOMER}


def test_an_event_whose_order_never_arrives_is_dead_after_the_last_attempt(
    stage: Stage, transport: RecordingTransport
) -> None:
    stage.publish(shipped())

    *earlier, last = play_until_settled(stage)

    assert len(earlier) == 30
    assert {type(each.error).__name__ for each in earlier} == {"NotKnownYet"}
    assert type(last.error).__name__ == "CustomerUnknown"
    assert last.outcome is Outcome.DEAD
    assert not transport.mails


def test_a_confirmation_is_sent_even_after_the_cancellation(stage: Stage) -> None:
    play(stage, cancelled())

    play(stage, placed())
    play_until_settled(stage)

    assert sorted(kinds(stage)) == ["cancellation", "confirmation"]


def test_an_email_that_was_refused_temporarily_is_sent_and_recorded_once(
    stage: Stage, transport: RecordingTransport
) -> None:
    transport.failures = [MailRefusedForNow(), MailRefusedForNow()]
    stage.publish(placed())

    results = play_until_settled(stage)

    assert [each.outcome for each in results] == [Outcome.RETRY, Outcome.RETRY, Outcome.DONE]
    assert len(transport.mails) == 1
    assert kinds(stage) == ["confirmation"]


def test_a_refused_email_is_not_recorded_as_sent(
    stage: Stage, transport: RecordingTransport
) -> None:
    transport.failures = [MailRefused()]

    (result,) = play(stage, placed())

    assert result.outcome is Outcome.DEAD
    assert kinds(stage) == []


def test_a_second_copy_of_an_email_has_the_same_message_id_and_one_record(
    stage: Stage, transport: RecordingTransport
) -> None:
    event = placed()
    play(stage, event)
    # The process died after it sent the email and before the commit: the inbox has no row.
    with stage.databases["email"].begin() as connection:
        connection.execute(tables.inbox.delete())

    play(stage, event)

    assert transport.ids() == [f"<{event.event_id}.confirmation@shop.example>"] * 2
    assert kinds(stage) == ["confirmation"]


def test_a_note_names_the_email_that_was_sent(stage: Stage) -> None:
    play(stage, placed("A"), placed("B"))
    results = play(stage, shipped("A"), cancelled("B"))

    assert [each.notes for each in results] == [
        ("shipping email sent",),
        ("cancellation email sent",),
    ]


def test_a_duplicate_event_sends_nothing(stage: Stage, transport: RecordingTransport) -> None:
    event = placed()

    play(stage, event, event)

    assert len(transport.mails) == 1


def test_neither_notes_nor_failures_hold_an_address(
    stage: Stage, transport: RecordingTransport
) -> None:
    transport.failures = [MailRefusedForNow(), ValueError(f"who is {CUSTOMER}?")]
    stage.publish(placed(), shipped("ORD-9"))

    results = play_until_settled(stage)

    with stage.databases["email"].read() as connection:
        failures = connection.execute(tables.failures.select()).all()
    assert len(failures) >= 3
    assert "canary" not in repr(failures)
    assert "canary" not in repr([each.notes for each in results])


def test_the_latest_emails_are_listed_newest_first(stage: Stage) -> None:
    play(stage, placed("ORD-1"), placed("ORD-2"), placed("ORD-3"), shipped("ORD-1"))

    with stage.store("email") as store:
        last = [(each["order_id"], each["kind"]) for each in store.sent(limit=2)]
        about_one = [each["kind"] for each in store.sent(order_id="ORD-1")]

    assert last == [("ORD-1", "shipping"), ("ORD-3", "confirmation")]
    assert about_one == ["shipping", "confirmation"]
