"""What the email service does when something happened to an order.

A mail is recorded before it is sent, in a transaction that commits after: what the database
refuses is never sent, and what was sent and not committed is sent again under its Message-ID.
"""

from services.email.mailer import Mailer
from services.email.mails import Mail, cancellation, confirmation, shipping_notice
from services.email.refusals import CustomerUnknown
from services.email.store import Customer, EmailStore
from shared.errors import NotKnownYet
from shared.events import OrderCancelled, OrderPlaced, OrderShipped
from shared.storage.unit_of_work import UnitOfWork

Work = UnitOfWork[EmailStore, Mailer]

NOTES = {
    "confirmation": "confirmation",
    "shipping": "shipping notice",
    "cancellation": "cancellation notice",
}


def confirm_order(event: OrderPlaced, work: Work) -> None:
    """Remember who ordered, and confirm the order, even one that was cancelled since."""
    work.store.remember(Customer(event.order_id, event.customer_email, event.currency))
    _send(confirmation(event, sender=work.gateway.sender), work)


def notify_of_shipping(event: OrderShipped, work: Work) -> None:
    """Tell the customer that the order is on its way.

    Raises:
        NotKnownYet: its OrderPlaced has not come yet; tried again later.
        CustomerUnknown: it has not come until the last attempt; dead.
    """
    to = _customer_of(event.order_id, work).address
    _send(shipping_notice(event, to=to, sender=work.gateway.sender), work)


def tell_of_cancellation(event: OrderCancelled, work: Work) -> None:
    """Tell the customer that the order was cancelled, and what is given back.

    Raises:
        NotKnownYet: its OrderPlaced has not come yet; tried again later.
        CustomerUnknown: it has not come until the last attempt; dead.
    """
    customer = _customer_of(event.order_id, work)
    to, currency = customer.address, customer.currency
    _send(cancellation(event, to=to, currency=currency, sender=work.gateway.sender), work)


def _customer_of(order_id: str, work: Work) -> Customer:
    customer = work.store.customer_of(order_id)
    if customer is not None:
        return customer
    if work.is_last_attempt:
        raise CustomerUnknown(f"order {order_id}: no OrderPlaced ever told who ordered it")
    raise NotKnownYet(f"order {order_id}: its OrderPlaced, which tells who ordered, is yet to come")


def _send(mail: Mail, work: Work) -> None:
    work.store.record(mail)
    work.gateway.send(mail.message)
    work.note(f"{NOTES[mail.kind]} mailed")
