"""The declaration of the email service."""

from services.email.handlers import confirm_order, notify_of_cancellation, notify_of_shipping
from services.email.mailer import Mailer
from services.email.store import EmailStore
from shared.events import OrderCancelled, OrderPlaced, OrderShipped
from shared.messaging.topology import Retry
from shared.runtime.service import Service

# A mail server that is overloaded, or that greylists, needs minutes rather than seconds.
email = Service(
    "email",
    store=EmailStore,
    gateway=Mailer,
    retry=Retry(delay=10, max_delay=600, max_retries=30),
)
email.on(OrderPlaced, confirm_order)
email.on(OrderShipped, notify_of_shipping)
email.on(OrderCancelled, notify_of_cancellation)
