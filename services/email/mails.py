"""Composes the emails to customers, in plain text and in HTML.

All emails about the same event have the same Message-ID, so a second copy can be recognised.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from functools import cache
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from services.email.errors import MailRefused
from services.email.products import name_of, with_names
from shared.events import OrderCancelled, OrderPlaced, OrderShipped

Kind = Literal["confirmation", "shipping", "cancellation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One email about one order.

    Attributes:
        sender: the envelope's sender address.
        to: the recipient's address.
    """

    order_id: str
    kind: Kind
    sender: str
    to: str
    message: EmailMessage


def confirmation(event: OrderPlaced, *, sender: Address) -> Mail:
    """An email with the order's products, total, how to pay it, and shipping address."""
    subject = f"Your order {event.order_id} is confirmed"
    return _compose(event, "confirmation", to=event.customer_email, sender=sender, subject=subject)


def shipping_notice(event: OrderShipped, *, to: str, sender: Address) -> Mail:
    """An email with the carrier and the tracking number.

    Raises:
        MailRefused: the address holds an encoded word.
    """
    subject = f"Your order {event.order_id} is on its way"
    return _compose(event, "shipping", to=to, sender=sender, subject=subject)


def cancellation(event: OrderCancelled, *, to: str, currency: str, sender: Address) -> Mail:
    """An email with the reason and the refund.

    Raises:
        MailRefused: the address holds an encoded word.
    """
    subject = f"Your order {event.order_id} has been cancelled"
    return _compose(event, "cancellation", to=to, sender=sender, subject=subject, currency=currency)


def _compose(
    event: OrderPlaced | OrderShipped | OrderCancelled,
    kind: Kind,
    *,
    to: str,
    sender: Address,
    subject: str,
    **values: str,
) -> Mail:
    if "=?" in to:
        # An address must not hold an encoded word (RFC 2047, section 5). The email package decodes
        # it nevertheless, and the email would go to another address.
        raise MailRefused(f"order {event.order_id}: the address holds an encoded word")
    message = EmailMessage(SMTP)
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = datetime.now(UTC)
    message["Message-ID"] = f"<{event.event_id}.{kind}@{sender.domain}>"
    # Asks automatic responders not to reply: RFC 3834, section 5.
    message["Auto-Submitted"] = "auto-generated"
    text = _render(f"{kind}.txt", event, **values)
    html = _render(f"{kind}.html", event, subject=subject, shop=sender.display_name, **values)
    # Quoted-printable, because a mail server may reject bytes above 127.
    message.set_content(text, cte="quoted-printable")
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    return Mail(order_id=event.order_id, kind=kind, sender=sender.addr_spec, to=to, message=message)


def _render(template: str, event: object, **values: str) -> str:
    return _templates().get_template(template).render(event=event, **values)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    environment.filters |= {"name": name_of, "with_names": with_names}
    return environment
