"""The handlers of the email service: each sends one email about an order.

An email is recorded first, then sent, then the transaction commits. So an email that cannot be
recorded is not sent. If the commit fails, the email is sent again with the same Message-ID.
"""

from services.email.errors import CustomerUnknown
from services.email.mailer import Mailer
from services.email.mails import Mail, cancellation, confirmation, shipping_notice
from services.email.store import Customer, EmailStore
from shared.errors import NotKnownYet
from shared.events import OrderCancelled, OrderPlaced, OrderShipped
from shared.storage.unit_of_work import UnitOfWork

Work = UnitOfWork[EmailStore, Mailer]


def confirm_order(event: OrderPlaced, work: Work) -> None:
    """Store the customer's address and confirm the order, even if it has been cancelled."""
    work.store.remember(Customer(event.order_id, event.customer_email, event.currency))
    _send(confirmation(event, sender=work.gateway.sender), work)


def notify_of_shipping(event: OrderShipped, work: Work) -> None:
    """Tell the customer that the order has been shipped.

    Raises:
        NotKnownYet: OrderPlaced has not arrived yet; retried.
        CustomerUnknown: OrderPlaced has not arrived by the last attempt; dead.
    """
    customer = _customer_of(event.order_id, work)
    _send(shipping_notice(event, to=customer.address, sender=work.gateway.sender), work)


def notify_of_cancellation(event: OrderCancelled, work: Work) -> None:
    """Tell the customer that the order has been cancelled, and how much is refunded.

    Raises:
        NotKnownYet: OrderPlaced has not arrived yet; retried.
        CustomerUnknown: OrderPlaced has not arrived by the last attempt; dead.
    """
    customer = _customer_of(event.order_id, work)
    mail = cancellation(
        event,
        to=customer.address,
        currency=customer.currency,
        sender=work.gateway.sender,
    )
    _send(mail, work)


def _customer_of(order_id: str, work: Work) -> Customer:
    customer = work.store.customer_of(order_id)
    if customer is not None:
        return customer
    if work.is_last_attempt:
        raise CustomerUnknown(f"order {order_id}: its OrderPlaced has not arrived")
    raise NotKnownYet(f"order {order_id}: its OrderPlaced has not arrived yet")


def _send(mail: Mail, work: Work) -> None:
    work.store.record(mail)
    work.gateway.send(mail)
    work.note(f"{mail.kind} email sent")
