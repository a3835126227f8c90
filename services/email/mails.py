"""The mails that customers get, each in plain text and in HTML.

A mail has the same Message-ID however often it is made of the same event, so that a second copy
can be told from a second mail.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import Message
from email.policy import Compat32
from email.utils import format_datetime, formataddr
from functools import cache
from pathlib import Path
from quopri import encodestring
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from services.email.refusals import MailRefused
from shared.events import OrderCancelled, OrderPlaced, OrderShipped

Kind = Literal["confirmation", "shipping", "cancellation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One mail about one order."""

    order_id: str
    kind: Kind
    to: str
    message: Message


def confirmation(event: OrderPlaced, *, sender: Address) -> Mail:
    """The order is confirmed: what was ordered, for how much, and where it goes."""
    subject = f"Your order {event.order_id} is confirmed"
    return _mail(event, "confirmation", to=event.customer_email, sender=sender, subject=subject)


def shipping_notice(event: OrderShipped, *, to: str, sender: Address) -> Mail:
    """The order is on its way: with whom, and under which number."""
    subject = f"Your order {event.order_id} is on its way"
    return _mail(event, "shipping", to=to, sender=sender, subject=subject)


def cancellation(event: OrderCancelled, *, to: str, currency: str, sender: Address) -> Mail:
    """The order was cancelled: why, and what is given back."""
    subject = f"Your order {event.order_id} has been cancelled"
    return _mail(event, "cancellation", to=to, sender=sender, subject=subject, currency=currency)


def _mail(
    event: OrderPlaced | OrderShipped | OrderCancelled,
    kind: Kind,
    *,
    to: str,
    sender: Address,
    subject: str,
    **shown: str,
) -> Mail:
    if "=?" in to:
        # An address may not hold an encoded word (RFC 2047, section 5), and the email package,
        # which decodes one even there, would write to somebody else.
        raise MailRefused(f"order {event.order_id}: the address holds an encoded word")
    message = Message(_AS_GIVEN)
    message["From"] = formataddr((sender.display_name, sender.addr_spec))
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{event.event_id}.{kind}@{sender.domain}>"
    # No answering machine should answer: RFC 3834, section 5.
    message["Auto-Submitted"] = "auto-generated"
    # What is quoted-printable never holds =_ (RFC 2045, section 6.7), so nobody need look for it.
    message["Content-Type"] = f'multipart/alternative; boundary="=_{event.event_id}"'
    message["MIME-Version"] = "1.0"
    text = _rendered(f"{kind}.txt", event, **shown)
    html = _rendered(f"{kind}.html", event, subject=subject, shop=sender.display_name, **shown)
    message.attach(_part("plain", text))
    message.attach(_part("html", html))
    return Mail(order_id=event.order_id, kind=kind, to=to, message=message)


class _AsGiven(Compat32):
    """Writes headers as they are given, on one line.

    The email package would parse and fold each, for most of the time that a mail takes. Ours hold
    ids, checked addresses, and one name that `formataddr` encodes.
    """

    def fold_binary(self, name: str, value: str) -> bytes:
        return f"{name}: {value}{self.linesep}".encode("ascii")


_AS_GIVEN = _AsGiven(linesep="\r\n")


def _part(kind: str, text: str) -> Message:
    part = Message(_AS_GIVEN)
    part["Content-Type"] = f'text/{kind}; charset="utf-8"'
    # Since a server need not take bytes above 127.
    part["Content-Transfer-Encoding"] = "quoted-printable"
    part.set_payload(encodestring(text.encode()).decode("ascii"))
    return part


def _rendered(template: str, event: object, **shown: str) -> str:
    return _templates().get_template(template).render(event=event, **shown)


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
