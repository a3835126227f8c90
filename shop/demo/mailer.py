"""The demo's mailer, which refuses some emails."""

from email.headerregistry import Address

from services.email.mailer import Mailer, MailTransport
from services.email.mails import Mail
from shared.errors import ShopError


class DemoMailer(Mailer):
    """A mailer that refuses selected emails."""

    def __init__(self, transport: MailTransport, *, sender: Address) -> None:
        super().__init__(transport, sender=sender)
        self._errors: dict[str, list[ShopError]] = {}

    def refuse(self, order_id: str, *errors: ShopError) -> None:
        """Raise these errors for the next emails about an order, one for each attempt."""
        self._errors[order_id] = list(errors)

    def send(self, mail: Mail) -> None:
        """Raise the next error for the email's order; send the email if there is none."""
        if errors := self._errors.get(mail.order_id):
            raise errors.pop(0)
        super().send(mail)
