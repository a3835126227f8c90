from decimal import Decimal
from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from pathlib import Path

import pytest

from services.email.errors import MailRefused
from services.email.mails import Mail, cancellation, confirmation, shipping_notice
from services.email.products import NAMES
from services.orders.service import orders
from shared.events import OrderCancelled, OrderPlaced, OrderShipped
from shared.operations.console import database_of
from shared.runtime.settings import settings_override

SENDER = Address("Past Tense", "orders", "shop.example")
VOID = {"meta", "br"}


class TagChecker(HTMLParser):
    """Checks that every tag that is opened is closed, in the right order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def placed(**changed: object) -> OrderPlaced:
    return OrderPlaced.model_validate(
        {
            "order_id": "ORD-123",
            "customer_email": "jane@example.com",
            "items": {"product-1": 2, "product-2": 1},
            "shipping_address": "123 Main St, Springfield",
            "total_amount": "99.99",
            "currency": "EUR",
        }
        | changed
    )


def cancelled(refunded: str, reason: str = "3 product-3 are missing") -> Mail:
    event = OrderCancelled(order_id="ORD-1", reason=reason, refunded_amount=Decimal(refunded))
    return cancellation(event, to="jane@example.com", currency="EUR", sender=SENDER)


def parts(mail: Mail) -> tuple[EmailMessage, str, str]:
    """The email as its recipient reads it: headers, text, HTML."""
    received = message_from_bytes(mail.message.as_bytes(), policy=default)
    text, html = received.get_body(("plain",)), received.get_body(("html",))
    assert isinstance(text, EmailMessage)
    assert isinstance(html, EmailMessage)
    return received, text.get_content(), html.get_content()


def test_a_confirmation_shows_products_total_and_shipping_address() -> None:
    _, text, html = parts(confirmation(placed(), sender=SENDER))

    for body in (text, html):
        assert "ORD-123" in body
        assert "Desk lamp" in body
        assert "product-1" not in body
        assert "99.99 EUR" in body
        assert "shop orders pay ORD-123 --amount 99.99" in body
        assert "123 Main St, Springfield" in body
    assert "2 × Desk lamp" in text


def test_a_shipping_notice_shows_carrier_and_tracking_number() -> None:
    event = OrderShipped(order_id="ORD-1", tracking_number="PT-77", carrier="Swift Post")

    _, text, html = parts(shipping_notice(event, to="jane@example.com", sender=SENDER))

    for body in (text, html):
        assert "Swift Post" in body
        assert "PT-77" in body


@pytest.mark.parametrize(
    ("refunded", "sentence"),
    [("49.99", "We refund 49.99 EUR"), ("0.00", "there is nothing to refund")],
    ids=["paid", "unpaid"],
)
def test_a_cancellation_shows_reason_and_refund(refunded: str, sentence: str) -> None:
    _, text, html = parts(cancelled(refunded))

    for body in (text, html):
        assert "3 Fountain pen are missing" in body
        assert sentence in " ".join(body.replace("<strong>", "").replace("</strong>", "").split())


def test_the_headers_hold_sender_recipient_date_and_that_it_is_automatic() -> None:
    event = placed()

    received, _, _ = parts(confirmation(event, sender=SENDER))

    assert received["From"] == "Past Tense <orders@shop.example>"
    assert received["To"] == "jane@example.com"
    assert received["Message-ID"] == f"<{event.event_id}.confirmation@shop.example>"
    assert received["Auto-Submitted"] == "auto-generated"
    assert received["Date"].datetime.tzinfo is not None


def test_text_from_a_customer_is_escaped_in_html() -> None:
    markup = "1 <script>alert(1)</script> & Sons"

    _, text, html = parts(confirmation(placed(shipping_address=markup), sender=SENDER))

    assert markup in text
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; Sons" in html


@pytest.mark.parametrize(
    "mail",
    [
        confirmation(placed(), sender=SENDER),
        shipping_notice(
            OrderShipped(order_id="ORD-1", tracking_number="1", carrier="c"),
            to="jane@example.com",
            sender=SENDER,
        ),
        cancelled("1.00"),
        cancelled("0.00"),
    ],
    ids=["confirmation", "shipping", "refunded", "cancelled"],
)
def test_html_tags_are_closed_and_every_server_accepts_the_lines(mail: Mail) -> None:
    _, _, html = parts(mail)

    checker = TagChecker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    raw = mail.message.as_bytes()
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998
    assert raw.isascii()


@pytest.mark.parametrize(
    "to",
    [
        "o'neil+tag@example.com",
        "a..b.@example.com",
        "a" * 64 + "@" + ".".join(["b" * 60] * 3) + ".com",
    ],
    ids=["punctuation", "odd dots", "longest"],
)
def test_an_address_that_the_contract_allows_is_not_changed(to: str) -> None:
    received, _, _ = parts(
        confirmation(placed(customer_email=to, order_id="X" * 64), sender=SENDER)
    )

    assert received["To"] == to
    assert received["To"].addresses[0].addr_spec == to
    assert received["Subject"] == f"Your order {'X' * 64} is confirmed"


def test_an_address_with_an_encoded_word_is_refused_by_a_message_without_it() -> None:
    event = OrderShipped(order_id="ORD-1", tracking_number="PT-77", carrier="Swift Post")

    with pytest.raises(MailRefused) as refused:
        shipping_notice(event, to="=?utf-8?q?canary?=@example.com", sender=SENDER)

    assert "canary" not in str(refused.value)


def test_a_sender_s_name_can_hold_any_letter() -> None:
    sender = Address("Grüße, 東京", "orders", "shop.example")

    received, _, _ = parts(confirmation(placed(), sender=sender))

    assert received["From"].addresses[0].display_name == "Grüße, 東京"
    assert received["From"].addresses[0].addr_spec == "orders@shop.example"


def test_a_sender_needs_no_name() -> None:
    sender = Address("", "orders", "shop.example")

    received, _, html = parts(confirmation(placed(), sender=sender))

    assert received["From"] == "orders@shop.example"
    assert ">You get this email" in html


def test_the_names_of_products_are_those_of_the_price_list(tmp_path: Path) -> None:
    with (
        settings_override(home=tmp_path),
        database_of(orders) as database,
        database.read() as connection,
    ):
        price_list = orders.store(connection, database).products()

    assert {product.sku: product.name for product in price_list} == NAMES


def test_a_cancellation_names_the_missing_products_and_keeps_other_words() -> None:
    _, text, html = parts(cancelled("0.00", "out of stock: 3 × product-3, 1 × product-30"))

    for body in (text, html):
        assert "out of stock: 3 × Fountain pen, 1 × product-30" in body
